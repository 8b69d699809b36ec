"""The hidden truth of a demo's held-out picks: for the oracle's and the second person's rows, and for tests.

It is computed again from how each image was made, written beside the dataset and never into it.
"""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from random import Random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pickapic.collect.database import open_database
from pickapic.collect.duels.images import facts_by_uid
from pickapic.miniature.people import Person, Population
from pickapic.miniature.taste import depiction_of, quality
from pickapic.records import ImageFacts

SECOND_PEOPLE = 500
_ANOTHER_TOWN = 1_000_003
"""The second person comes from another population than those who picked."""
_LABELS = {"left": 1.0, "right": 0.0, "tie": 0.5}
_ASKED_AT_ONCE = 500


def write_truth(database_url: str, examples: pa.Table, seed: int, out: Path) -> pa.Table:
    """Return, and write to `out`, what is true of each example, in row order.

    Columns: `ranking_id`; `adherence_0`, `look_0`, `adherence_1`, `look_1` in standard deviations; `oracle_prob_0`, the
    logistic of the difference in quality; `second_person`, another honest person's label_0 for the same pair.
    """
    uids = {str(uid) for column in ("image_0_uid", "image_1_uid") for uid in examples[column].to_pylist()}
    facts = asyncio.run(_read_facts(database_url, sorted(uids)))
    town = Population(seed + _ANOTHER_TOWN, SECOND_PEOPLE)
    honest = [person for person in map(town.person, range(town.size)) if person.habit == "honest"]
    rows: list[dict[str, float]] = []
    for ranking_id, uid_0, uid_1 in zip(
        *(examples[name].to_pylist() for name in ("ranking_id", "image_0_uid", "image_1_uid")), strict=True
    ):
        rows.append({"ranking_id": ranking_id} | _truth(facts[uid_0], facts[uid_1], honest, ranking_id))
    table = pa.Table.from_pylist(rows)
    draft = out.with_name(f".{out.name}.part")
    pq.write_table(table, draft)
    draft.replace(out)
    return table


def _truth(left: ImageFacts, right: ImageFacts, honest: list[Person], ranking_id: int) -> dict[str, float]:
    q_0, q_1 = (quality(image.prompt, depiction_of(image)) for image in (left, right))
    second = Random(ranking_id).choice(honest).judge(left, right, ranking_id)
    return {
        "adherence_0": q_0.adherence,
        "look_0": q_0.look,
        "adherence_1": q_1.adherence,
        "look_1": q_1.look,
        "oracle_prob_0": 1 / (1 + math.exp(q_1.overall - q_0.overall)),
        "second_person": _LABELS[second.pick],
    }


async def _read_facts(database_url: str, uids: list[str]) -> dict[str, ImageFacts]:
    database = open_database(database_url)
    try:
        found: dict[str, ImageFacts] = {}
        for start in range(0, len(uids), _ASKED_AT_ONCE):
            found |= await database.read(facts_by_uid, uids[start : start + _ASKED_AT_ONCE])
        return found
    finally:
        await database.close()


def column(truth: pa.Table, name: str) -> NDArray[np.float64]:
    """Return a column of the truth as float64 (n,)."""
    return truth[name].to_numpy().astype(np.float64)
