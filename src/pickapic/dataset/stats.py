"""Count what a dataset holds: rows, prompts, people, ties, models, sides."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass

import polars as pl
import pyarrow as pa

from pickapic.dataset.schema import require_columns
from pickapic.records import InputError

STATS_COLUMNS = ("caption", "created_at", "label_0", "model_0", "model_1", "user_id")
HAS_LABEL = "has_label"
"""Read as well where it is there: it tells rows apart that nobody judged."""


@dataclass(frozen=True, slots=True)
class ModelCount:
    """How often one model was shown, and the share of its decided duels with other models that it won.

    A tie is half a win. None where it was only ever compared with itself.
    """

    model: str
    shown: int
    win_rate: float | None


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts of one table. Shares are in 0..1, and None where there is nothing to take a share of.

    `unlabelled` rows hold no judgement (`has_label` is false, or the label is none of 0, 0.5 and 1); shares and win
    rates leave them out. `left_share` is the share of decided picks (no ties) that went to image 0, the left one;
    without a side bias it is near 0.5, and `left_low`..`left_high` is its 95 % Wilson interval.
    """

    rows: int
    prompts: int
    users: int
    unlabelled: int
    ties: int
    tie_share: float | None
    left_share: float | None
    left_low: float | None
    left_high: float | None
    picks_per_prompt: float | None
    picks_per_prompt_max: int
    picks_per_user: float | None
    picks_per_user_max: int
    first: str | None
    last: str | None
    models: tuple[ModelCount, ...]


def stats_columns(present: Collection[str]) -> tuple[str, ...]:
    """Return what of the columns `present` is counted."""
    return (*STATS_COLUMNS, HAS_LABEL) if HAS_LABEL in present else STATS_COLUMNS


def stats(table: pa.Table) -> Stats:
    """Count a table with at least the columns `STATS_COLUMNS`; nulls are no prompt, no person, no model.

    Raises:
        InputError: a column is missing.
    """
    counting = Counting()
    counting.add(table)
    return counting.result()


class Counting:
    """Counts rows that come piece by piece: what is kept grows with prompts and people, not with rows."""

    def __init__(self) -> None:
        self._rows = self._labelled = self._ties = self._left = 0
        self._prompts: Counter[int] = Counter()
        self._users: Counter[int] = Counter()
        self._first: list[str] = []
        self._last: list[str] = []
        self._shown: Counter[str] = Counter()
        self._won: defaultdict[str, float] = defaultdict(float)
        self._decided: Counter[str] = Counter()

    def add(self, table: pa.Table) -> None:
        """Count more rows. Raises as `stats`."""
        require_columns(table, STATS_COLUMNS, "counting")
        frame = pl.DataFrame(table.select(stats_columns(table.column_names)))
        judged = frame["label_0"].is_in([0.0, 0.5, 1.0]).fill_null(False)
        if HAS_LABEL in frame.columns:
            judged &= frame[HAS_LABEL].fill_null(False)
        frame = frame.with_columns(label_0=pl.when(judged).then(pl.col("label_0")))
        self._rows += frame.height
        self._labelled += int(judged.sum())
        self._ties += int((frame["label_0"] == 0.5).sum())
        self._left += int((frame["label_0"] == 1.0).sum())
        # Told apart by 64 bits each: prompts are long, and of a million the odds for two alike are 1 to 37 million.
        self._prompts.update(_uses(frame["caption"].drop_nulls().hash()))
        self._users.update(_uses(frame["user_id"]))
        for kept, which in ((self._first, "first"), (self._last, "last")):
            time = _time(frame, which)
            kept += [] if time is None else [time]
        for model, shown, won, decided in _models(frame):
            self._shown[model] += shown
            self._won[model] += won
            self._decided[model] += decided

    def result(self) -> Stats:
        """Return the counts of all rows so far."""
        labelled, decided = self._labelled, self._labelled - self._ties
        low, high = wilson(self._left, decided) if decided else (None, None)
        return Stats(
            rows=self._rows,
            prompts=len(self._prompts),
            users=len(self._users),
            unlabelled=self._rows - labelled,
            ties=self._ties,
            tie_share=self._ties / labelled if labelled else None,
            left_share=self._left / decided if decided else None,
            left_low=low,
            left_high=high,
            picks_per_prompt=self._prompts.total() / len(self._prompts) if self._prompts else None,
            picks_per_prompt_max=max(self._prompts.values(), default=0),
            picks_per_user=self._users.total() / len(self._users) if self._users else None,
            picks_per_user_max=max(self._users.values(), default=0),
            first=min(self._first, default=None),
            last=max(self._last, default=None),
            models=tuple(
                ModelCount(
                    model, shown, self._won[model] / self._decided[model] if self._decided[model] else None
                )
                for model, shown in sorted(self._shown.items())
            ),
        )


def wilson(successes: int, trials: int, z: float = 1.959964) -> tuple[float, float]:
    """Return the Wilson score interval of a share (95 % by default).

    Raises:
        InputError: no trials.
    """
    if trials < 1:
        raise InputError("a share of nothing has no interval")
    share = successes / trials
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * (share * (1 - share) / trials + z * z / (4 * trials * trials)) ** 0.5
    return max(0.0, centre - half), min(1.0, centre + half)


def _uses(values: pl.Series) -> dict[int, int]:
    """Return how often each distinct number stands there."""
    counts = values.drop_nulls().value_counts(name="uses")
    return dict(zip(counts[:, 0].to_list(), counts["uses"].to_list(), strict=True))


def _time(frame: pl.DataFrame, which: str) -> str | None:
    column = pl.col("created_at").min() if which == "first" else pl.col("created_at").max()
    value = frame.select(column.dt.strftime("%Y-%m-%dT%H:%M:%SZ")).item()
    return None if value is None else str(value)


def _models(frame: pl.DataFrame) -> list[tuple[str, int, float, int]]:
    """Return of each model how often it was shown, won, and was in a duel that says something about its win rate.

    Those of a model with itself do not.
    """
    label, other = pl.col("label_0"), pl.col("model_0") != pl.col("model_1")
    sides = pl.concat(
        [
            frame.select(model=pl.col("model_0"), won=pl.when(other).then(label)),
            frame.select(model=pl.col("model_1"), won=pl.when(other).then(1 - label)),
        ]
    )
    counts = (
        sides.drop_nulls("model")
        .group_by("model")
        .agg(pl.len().alias("shown"), pl.col("won").sum(), pl.col("won").count().alias("decided"))
    )
    return [
        (str(model), int(shown), float(won), int(decided))
        for model, shown, won, decided in counts.iter_rows()
    ]
