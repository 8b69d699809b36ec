"""How far people agree, with each other, with experts and with themselves: all of `pickapic evaluate agreement`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from pickapic.dataset.read import column_names
from pickapic.evaluate import agreement, habits
from pickapic.evaluate.accuracy import Judgements, evaluate_judge
from pickapic.evaluate.agreement import Estimate, estimate
from pickapic.evaluate.held_out import HeldOut, read_held_out
from pickapic.evaluate.intervals import RESAMPLES, Captions, by_prompt
from pickapic.evaluate.protocols import NO_TIES, PAPER
from pickapic.evaluate.results import PreferenceResult
from pickapic.evaluate.second_labels import SecondLabels, read_second_labels
from pickapic.records import InputError

PEOPLE = "the dataset"
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TwoJudges:
    """The dataset's label beside one judge's of the same examples: a 3 x 3 table (rows: dataset; 0, 0.5, 1), kappas."""

    judge: str
    n: int
    table: tuple[tuple[int, ...], ...]
    points: Estimate
    same: Estimate
    kappa: Estimate
    weighted_kappa: Estimate


@dataclass(frozen=True, slots=True)
class ManyJudges:
    """Judges who are not told apart, on `examples` examples with `judgements` labels.

    Fleiss' kappa is of the `fleiss_examples` that `fleiss_judges` judged each, the commonest number.
    """

    examples: int
    judgements: int
    points: Estimate
    alpha: Estimate
    alpha_interval: Estimate
    fleiss: Estimate
    fleiss_examples: int
    fleiss_judges: int


@dataclass(frozen=True, slots=True)
class PeopleReport:
    """What is known of agreement in one dataset; what could not be measured is None, and `missing` says why."""

    dataset: str
    split: str
    fingerprint: str
    n: int
    people: int
    prompts: int
    ties: int
    shared: ManyJudges | None
    majority: habits.Majority | None
    repeats: habits.Repeats | None
    side: habits.Side | None
    incumbency: habits.Incumbency | None
    second: tuple[TwoJudges, ...]
    second_all: ManyJudges | None
    experts: tuple[PreferenceResult, ...]
    missing: tuple[str, ...]


def measure(
    dataset: str,
    split: str | None = None,
    second: Path | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> PeopleReport:
    """Return how far the judgements of a dataset agree.

    Args:
        dataset: a folder, a file or a hub id; no image is read.
        split: one split; None for all rows.
        second: a table of other judges' labels of the same examples.
        resamples: draws of each bootstrap.
        seed: of the draws.

    Raises:
        InputError: the data cannot be read, a column is missing, or no figure at all could be measured.
    """
    wanted = (*habits.COLUMNS, *(["has_label"] if "has_label" in column_names(dataset, split) else []))
    held_out = read_held_out(dataset, split, wanted)
    table = _once(held_out.table)
    missing: list[str] = []
    rounds = habits.rounds(table)
    incumbency = habits.incumbency(rounds, resamples, seed)
    if incumbency is None:
        missing.append(
            "incumbency: no image stayed for a second round of one person and prompt in these rows"
        )
    elif not 0.01 < incumbency.on_left < 0.99:
        missing.append(
            f"incumbency apart from side: the image that stayed was on the left in {incumbency.on_left:.0%} of "
            "these rounds, so that the two cannot be told apart"
        )
    pairs = habits.pairs(table)
    repeats = habits.repeats(pairs, resamples, seed)
    if repeats is None:
        missing.append("consistency: nobody judged the same pair of images twice")
    together = habits.shared(pairs)
    shared = _shared(together, resamples, seed)
    majority = habits.majority(together, resamples, seed)
    if shared is None:
        missing.append("agreement between people: no pair of images was judged by two people")
    labels = read_second_labels(second) if second is not None else ()
    beside, experts, all_judges = _second(held_out, labels, resamples, seed, missing)
    return PeopleReport(
        dataset=dataset,
        split=split or "all",
        fingerprint=held_out.fingerprint,
        n=table.num_rows,
        people=len(table["user_id"].unique()),
        prompts=len(table["caption"].unique()),
        ties=int((table["label_0"].to_numpy() == 0.5).sum()),
        shared=shared,
        majority=majority,
        repeats=repeats,
        side=_side(rounds, resamples, seed, missing),
        incumbency=incumbency,
        second=beside,
        second_all=all_judges,
        experts=experts,
        missing=tuple(missing),
    )


def _once(table: pa.Table) -> pa.Table:
    """Return each judgement once: splits read together may repeat some."""
    if table["user_id"].null_count:
        raise InputError(
            f"{table['user_id'].null_count:,} judgements have no user_id: whose they are is not known"
        )
    return pl.DataFrame(table).unique("ranking_id", keep="first", maintain_order=True).to_arrow()


def _side(rounds: pl.DataFrame, resamples: int, seed: int, missing: list[str]) -> habits.Side | None:
    try:
        return habits.side(rounds, resamples, seed)
    except InputError as error:
        missing.append(f"side: {error}")
        return None


def _shared(together: pl.DataFrame, resamples: int, seed: int) -> ManyJudges | None:
    if not len(together):
        return None
    numbers = together["pair"].rle_id().to_numpy()
    codes = (2 * together["label"].to_numpy()).astype(np.int64)
    counts = np.zeros((int(numbers[-1]) + 1, 3))
    np.add.at(counts, (numbers, codes), 1)
    captions = together.group_by("pair", maintain_order=True).agg(pl.col("caption").first())["caption"]
    return many_judges(counts, captions.to_list(), resamples, seed)


def many_judges(counts: Floats, captions: Captions, resamples: int = RESAMPLES, seed: int = 0) -> ManyJudges:
    """Return the agreement of judges who are not told apart; intervals are clustered by prompt.

    Args:
        counts: (examples, 3) how many judges chose 0, 0.5 and 1; two or more each.
        captions: the prompt of each example.
        resamples: draws of each bootstrap.
        seed: of the draws.

    Raises:
        InputError: fewer than two prompts, or every label is the same.
    """
    judges = counts.sum(axis=1)
    cells, clusters, n = agreement.coincidences(counts), by_prompt(captions), int(judges.sum())
    sizes, how_many = np.unique(judges, return_counts=True)
    commonest = int(sizes[int(how_many.argmax())])
    alike = judges == commonest
    # Examples of other numbers of judges add nothing to Fleiss' sums, and stay in their groups.
    fleiss = np.zeros((len(counts), 5))
    fleiss[alike] = agreement.fleiss_cells(counts[alike])
    measured = partial(estimate, clusters=clusters, resamples=resamples, seed=seed)
    return ManyJudges(
        examples=len(counts),
        judgements=n,
        points=measured(agreement.raw_agreement, cells, n=n),
        alpha=measured(agreement.alpha_of, cells, n=n),
        alpha_interval=measured(partial(agreement.alpha_of, level="interval"), cells, n=n),
        fleiss=measured(agreement.fleiss_of, fleiss, n=int(alike.sum()) * commonest),
        fleiss_examples=int(alike.sum()),
        fleiss_judges=commonest,
    )


def _second(
    held_out: HeldOut, labels: Sequence[SecondLabels], resamples: int, seed: int, missing: list[str]
) -> tuple[tuple[TwoJudges, ...], tuple[PreferenceResult, ...], ManyJudges | None]:
    """Return each judge beside the dataset, as a row of the paper's table, and all of them together."""
    if not labels:
        return (), (), None
    frame = pl.DataFrame(held_out.table).unique("ranking_id", keep="first", maintain_order=True)
    beside: list[TwoJudges] = []
    rows: list[PreferenceResult] = []
    counts = np.eye(3)[(2 * frame["label_0"].to_numpy()).astype(np.int64)]
    for judge in labels:
        asked = pl.DataFrame({"ranking_id": judge.ranking_id, "other": judge.label_0})
        both = frame.with_row_index("row").join(asked, on="ranking_id", how="inner", maintain_order="left")
        absent = len(asked) - len(both)
        if not len(both):
            raise InputError(
                f"none of the {len(asked):,} ranking ids that {judge.judge} labels is in {held_out.dataset}, "
                f"split {held_out.split}"
            )
        if absent:
            missing.append(
                f"{absent:,} of {len(asked):,} labels by {judge.judge}: their ranking ids are not in these rows"
            )
        people = Judgements(
            held_out.split or "all",
            both["label_0"].to_numpy(),
            both["caption"].to_list(),
            None,
            held_out.fingerprint,
        )
        beside.append(two_judges(judge.judge, people, both["other"].to_numpy(), resamples, seed))
        rows += [
            evaluate_judge(
                judge.judge, people, both["other"].to_numpy(), protocol, resamples=resamples, seed=seed
            )
            for protocol in (PAPER, NO_TIES)
        ]
        np.add.at(counts, (both["row"].to_numpy(), (2 * both["other"].to_numpy()).astype(np.int64)), 1)
    judged = counts.sum(axis=1) >= 2
    together = many_judges(
        counts[judged], frame.filter(pl.Series(judged))["caption"].to_list(), resamples, seed
    )
    return tuple(beside), tuple(sorted(rows, key=lambda row: row.protocol != PAPER.name)), together


def two_judges(
    judge: str, people: Judgements, label_0: Floats, resamples: int = RESAMPLES, seed: int = 0
) -> TwoJudges:
    """Return how a judge's labels agree with the dataset's; intervals are clustered by prompt.

    Raises:
        InputError: fewer than two prompts, or all labels are the same one.
    """
    cells, clusters = agreement.two_judges(people.label_0, label_0), by_prompt(people.captions)
    measured = partial(estimate, cells=cells, clusters=clusters, n=len(cells), resamples=resamples, seed=seed)
    try:
        return TwoJudges(
            judge=judge,
            n=len(cells),
            table=tuple(tuple(int(cell) for cell in row) for row in cells.sum(axis=0).reshape(3, 3)),
            points=measured(agreement.raw_agreement),
            same=measured(agreement.same_label),
            kappa=measured(agreement.kappa_of),
            weighted_kappa=measured(partial(agreement.kappa_of, weighted=True)),
        )
    except InputError as error:
        raise InputError(f"{judge} beside {PEOPLE}: {error}") from error
