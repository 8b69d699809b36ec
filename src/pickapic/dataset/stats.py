"""Count what a dataset holds: rows, prompts, people, ties, models, sides."""

from __future__ import annotations

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
    require_columns(table, STATS_COLUMNS, "counting")
    frame = pl.DataFrame(table.select(stats_columns(table.column_names)))
    judged = frame["label_0"].is_in([0.0, 0.5, 1.0]).fill_null(False)
    if HAS_LABEL in frame.columns:
        judged &= frame[HAS_LABEL].fill_null(False)
    frame = frame.with_columns(label_0=pl.when(judged).then(pl.col("label_0")))
    rows, labelled = frame.height, int(judged.sum())
    ties = int((frame["label_0"] == 0.5).sum())
    left = int((frame["label_0"] == 1.0).sum())
    per_prompt, per_user = (_uses(frame[name]) for name in ("caption", "user_id"))
    decided = labelled - ties
    low, high = wilson(left, decided) if decided else (None, None)
    return Stats(
        rows=rows,
        prompts=len(per_prompt),
        users=len(per_user),
        unlabelled=rows - labelled,
        ties=ties,
        tie_share=ties / labelled if labelled else None,
        left_share=left / decided if decided else None,
        left_low=low,
        left_high=high,
        picks_per_prompt=int(per_prompt.sum()) / len(per_prompt) if len(per_prompt) else None,
        picks_per_prompt_max=int(per_prompt[per_prompt.arg_max() or 0]) if len(per_prompt) else 0,
        picks_per_user=int(per_user.sum()) / len(per_user) if len(per_user) else None,
        picks_per_user_max=int(per_user[per_user.arg_max() or 0]) if len(per_user) else 0,
        first=_time(frame, "first"),
        last=_time(frame, "last"),
        models=_models(frame),
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


def _uses(values: pl.Series) -> pl.Series:
    """Return how often each distinct value stands there."""
    return values.drop_nulls().value_counts(name="uses")["uses"]


def _time(frame: pl.DataFrame, which: str) -> str | None:
    column = pl.col("created_at").min() if which == "first" else pl.col("created_at").max()
    value = frame.select(column.dt.strftime("%Y-%m-%dT%H:%M:%SZ")).item()
    return None if value is None else str(value)


def _models(frame: pl.DataFrame) -> tuple[ModelCount, ...]:
    """Count each model on both sides; duels of a model with itself say nothing about its win rate."""
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
        .agg(pl.len().alias("shown"), pl.col("won").mean())
        .sort("model")
    )
    return tuple(
        ModelCount(str(model), int(shown), None if won is None else float(won))
        for model, shown, won in counts.iter_rows()
    )
