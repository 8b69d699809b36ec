"""Drop rows that must not be published, and say how many of them and why."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from pickapic.dataset.manifest import LeftOut
from pickapic.dataset.schema import SCHEMA, require_columns

BANNED, BLOCKED, UNLABELLED = "banned user", "blocked prompt", "no judgement"


@dataclass(frozen=True, slots=True)
class Cleaned:
    """The rows that stay, with `num_example_per_prompt` counted anew, and what went, by reason."""

    table: pa.Table
    left_out: tuple[LeftOut, ...]


def clean(
    table: pa.Table,
    *,
    banned_users: Collection[int] = (),
    is_blocked: Callable[[str], bool] | None = None,
) -> Cleaned:
    """Drop the rows of banned users, of blocked prompts, and those without a judgement (`has_label` false).

    Args:
        table: at least the columns `caption`, `has_label` and `user_id`.
        banned_users: ids as they stand in `user_id`.
        is_blocked: says of a prompt whether it must go; asked once for each distinct prompt.

    A row with several faults counts once, under the first reason in the order: user, prompt, judgement.

    Raises:
        InputError: a column is missing.
    """
    require_columns(table, ("caption", "has_label", "user_id"), "cleaning")
    frame = pl.DataFrame(table.select(["caption", "has_label", "user_id"]))
    blocked = [text for text in frame["caption"].drop_nulls().unique() if is_blocked and is_blocked(text)]
    faults = {
        BANNED: frame["user_id"].is_in(list(banned_users)),
        BLOCKED: frame["caption"].is_in(blocked),
        UNLABELLED: ~frame["has_label"].fill_null(False),
    }
    gone = np.zeros(frame.height, dtype=np.bool_)
    left_out: list[LeftOut] = []
    for reason, mask in faults.items():
        new = mask.fill_null(False).to_numpy() & ~gone
        gone |= new
        if new.any():
            left_out.append(LeftOut(reason, int(new.sum())))
    kept = table.filter(pa.array(~gone))
    return Cleaned(with_example_counts(kept), tuple(left_out))


def judged(table: pa.Table) -> pa.Table:
    """Return the rows that hold a judgement: `has_label` is true, where there is such a column, and `label_0` is there.

    A label of another value than 0, 0.5 and 1, and NaN, stays: it is a fault, not a missing judgement.

    Raises:
        InputError: there is no `label_0`.
    """
    require_columns(table, ("label_0",), "telling judged rows")
    there = pl.Series(table["label_0"]).is_not_null()
    if "has_label" in table.column_names:
        there &= pl.Series(table["has_label"]).fill_null(False)
    return table.filter(there.to_arrow())


def with_example_counts(table: pa.Table) -> pa.Table:
    """Return `table` with `num_example_per_prompt` = its number of rows with the row's prompt."""
    name = "num_example_per_prompt"
    captions = pl.DataFrame(table.select(["caption"]))
    counts = captions.select(pl.len().over("caption").cast(pl.Int64))["len"].to_arrow()
    index = table.schema.get_field_index(name)
    if index < 0:
        return table.append_column(SCHEMA.field(name), counts)
    return table.set_column(index, SCHEMA.field(name), counts)
