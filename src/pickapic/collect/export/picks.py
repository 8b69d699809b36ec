"""The rows of an export, and what is left out of it: queries over one state of the database."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sqlalchemy import Connection, Row, Select, func, select

from pickapic.collect.export.rules import DOUBTED, LEFT, PROMPT_BLOCKED, RIGHT, Rules, stands, why_not
from pickapic.collect.quality.counting import doubted, standing_picks
from pickapic.collect.states import ANSWERED, SKIPPED
from pickapic.collect.tables import duels, risks, rounds, users
from pickapic.dataset.manifest import LeftOut
from pickapic.dataset.read import read

Query: TypeAlias = "Select[*tuple[Any, ...]]"
Record: TypeAlias = "Row[*tuple[Any, ...]]"

PAGE_ROWS = 256
PAGE_ROWS_NO_IMAGES = 8_192
FIELDS = (
    "ranking_id",
    "user_id",
    "pick",
    "picked_at",
    "caption",
    "examples",
    *("uid_0", "sha256_0", "model_0", "uid_1", "sha256_1", "model_1"),
)
"""What a record holds, in this order."""
WAS_SKIPPED = "the round was skipped"


class Selection:
    """The picks that count under some rules, since a time or ever, in one transaction."""

    def __init__(self, connection: Connection, rules: Rules, since: datetime | None) -> None:
        self._connection = connection
        self._rules = rules
        self._since = since

    @property
    def count(self) -> int:
        """How many picks count."""
        return self._by_reason.get(None, 0)

    @property
    def estimate(self) -> int:
        """About how many: those of images taken away and of refused prompts are among them."""
        query = select(func.count()).select_from(rounds).where(standing_picks(self._rules.policy))
        return int(self._connection.execute(self._in_time(query)).scalar_one())

    @cached_property
    def left_out(self) -> tuple[LeftOut, ...]:
        """How many answered rounds do not count, by reason, and how many were skipped."""
        counts = {reason: count for reason, count in self._by_reason.items() if reason is not None}
        if counts.pop(DOUBTED, 0):
            counts |= self._doubts()
        counts[PROMPT_BLOCKED] = counts.pop(PROMPT_BLOCKED, 0)
        counts[WAS_SKIPPED] = self._skipped()
        return tuple(LeftOut(reason, count) for reason, count in counts.items() if count)

    def picks(self, page: int = PAGE_ROWS) -> Iterator[Sequence[Record]]:
        """Yield the picks that count, `page` at a time, in the order in which their rounds were made."""
        return pages(self._connection, self._picks(), page)

    def examples(self) -> dict[str, int]:
        """Return how many picks there are of each prompt."""
        return {row.caption: row.examples for row in self._connection.execute(self._per_prompt())}

    def compare(self, out: Path) -> tuple[NDArray[np.int64], bool]:
        """Return the ranking ids of the earlier export `out` that still stand, and whether any of its rows does not.

        A round that was undone and picked again has the same id and a later time: its row no longer stands.
        """
        query = self._chosen(select(rounds.c.id, rounds.c.picked_at))
        columns = ["ranking_id", "created_at"]
        types = {"ranking_id": pl.Int64, "created_at": pl.Datetime("us", "UTC")}
        found = [
            pl.DataFrame([tuple(row) for row in page], types, orient="row")
            for page in pages(self._connection, query, PAGE_ROWS_NO_IMAGES)
        ]
        time = pl.col("created_at").dt.replace_time_zone(None).dt.cast_time_unit("ns")
        now = pl.concat([pl.DataFrame(schema=types), *found]).with_columns(time)
        before = pl.DataFrame(read(out, columns))
        standing = before.join(now, on=columns, how="semi")
        return standing["ranking_id"].to_numpy(), standing.height < before.height

    @cached_property
    def _by_reason(self) -> dict[str | None, int]:
        reason = why_not(self._rules).label("reason")
        query = (
            select(reason, func.count())
            .select_from(rounds)
            .join(users, users.c.id == rounds.c.user_id)
            .join(duels, duels.c.id == rounds.c.duel_id)
            .join(LEFT, LEFT.c.id == rounds.c.left_image_id)
            .join(RIGHT, RIGHT.c.id == rounds.c.right_image_id)
            .where(rounds.c.state == ANSWERED)
            .group_by(reason)
            .order_by(reason)
        )
        return {row[0]: row[1] for row in self._connection.execute(self._in_time(query))}

    def _doubts(self) -> dict[str, int]:
        """Divide the answers of doubted people by the strongest reason for the doubt."""
        if self._rules.policy is None:
            return {}
        query = (
            select(risks.c.reasons, func.count())
            .select_from(rounds)
            .join(users, users.c.id == rounds.c.user_id)
            .join(risks, risks.c.user_id == users.c.id)
            .where(rounds.c.state == ANSWERED, rounds.c.gold.is_(None), doubted(self._rules.policy))
            .group_by(risks.c.user_id, risks.c.reasons)
        )
        counts: Counter[str] = Counter()
        for reasons, count in self._connection.execute(self._in_time(query)):
            found = json.loads(reasons)
            counts[f"{DOUBTED}: {found[0]['signal'].replace('_', ' ')}" if found else DOUBTED] += count
        return dict(sorted(counts.items()))

    def _skipped(self) -> int:
        query = select(func.count()).select_from(rounds).where(rounds.c.state == SKIPPED)
        if self._since is not None:
            query = query.where(rounds.c.shown_at >= self._since)
        return int(self._connection.execute(query).scalar_one())

    def _picks(self) -> Query:
        """One statement, so that rows and counts are of one moment on every database."""
        examples = self._per_prompt().subquery("examples")
        columns = [
            column.label(f"{name}_{side}")
            for side, image in enumerate((LEFT, RIGHT))
            for name, column in (("uid", image.c.uid), ("sha256", image.c.sha256), ("model", image.c.model))
        ]
        query = select(
            rounds.c.id.label("ranking_id"),
            rounds.c.user_id,
            rounds.c.pick,
            rounds.c.picked_at,
            duels.c.caption,
            examples.c.examples,
            *columns,
        )
        joined = self._chosen(query).join(examples, examples.c.caption == duels.c.caption)
        return joined.order_by(rounds.c.id)

    def _per_prompt(self) -> Query:
        return self._chosen(select(duels.c.caption, func.count().label("examples"))).group_by(duels.c.caption)

    def _chosen(self, query: Query) -> Query:
        return self._in_time(
            query.select_from(rounds)
            .join(duels, duels.c.id == rounds.c.duel_id)
            .join(LEFT, LEFT.c.id == rounds.c.left_image_id)
            .join(RIGHT, RIGHT.c.id == rounds.c.right_image_id)
            .where(stands(self._rules))
        )

    def _in_time(self, query: Query) -> Query:
        return query if self._since is None else query.where(rounds.c.picked_at >= self._since)


def pages(connection: Connection, query: Query, page: int = PAGE_ROWS) -> Iterator[Sequence[Record]]:
    """Yield the rows of a query, `page` at a time, in the memory of these."""
    result = connection.execution_options(yield_per=page).execute(query)
    yield from result.partitions(page)
