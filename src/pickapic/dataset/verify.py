"""Check a whole dataset: rows against the schema, splits against the rule, files against the manifest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow as pa

from pickapic.dataset.manifest import MANIFEST, damage
from pickapic.dataset.read import batches, column_names, locate, read
from pickapic.dataset.schema import (
    IMAGE_COLUMNS,
    SCHEMA,
    TEST,
    TEST_UNIQUE,
    TRAIN,
    VALIDATION,
    VALIDATION_UNIQUE,
    Problem,
    check,
)
from pickapic.records import InputError

JPEG, PNG = b"\xff\xd8", b"\x89PNG"


def verify(
    path_or_hub_id: str | Path, *, images: bool = True, on_progress: Callable[[int], None] | None = None
) -> list[str]:
    """Return everything that is wrong with a dataset, in words; an empty list if nothing is.

    Looks at the values of every row, at rows that occur twice, at prompts shared by splits, at `_unique`
    splits that are not unique, at images that are neither JPEG nor PNG (unless `images` is false), and at the
    files of the manifest, if there is one. Without `images` no image byte is read: of the files only sizes and numbers
    of rows are compared then.

    Raises:
        InputError: there is no dataset there.
    """
    source = locate(path_or_hub_id)
    faults: list[str] = []
    if isinstance(path_or_hub_id, Path) or Path(path_or_hub_id).is_dir():
        folder = Path(path_or_hub_id)
        faults += damage(folder, contents=images) if (folder / MANIFEST).is_file() else []
    for split in source.files:
        try:
            present = column_names(path_or_hub_id, split)
            columns = [
                name for name in SCHEMA.names if name in present and (images or name not in IMAGE_COLUMNS)
            ]
            wants_images = images and any(name in present for name in IMAGE_COLUMNS)
            found = _rows(path_or_hub_id, split, columns, wants_images, on_progress)
        except InputError as error:
            faults.append(f"split {split}: {error}")
            continue
        faults += [f"split {split}: {problem}" for problem in found]
    return faults + (_across_splits(path_or_hub_id, set(source.files)) if not faults else [])


def _rows(
    path: str | Path, split: str, columns: list[str], images: bool, on_progress: Callable[[int], None] | None
) -> list[Problem]:
    """Check the rows of a split piece by piece; the same fault in many pieces is one problem with a count."""
    merged: dict[tuple[str, str], Problem] = {}
    start = 0
    for batch in batches(path, columns, split):
        table = pa.Table.from_batches([batch])
        for problem in (*check(table, images=images, first_row=start), *_not_images(table, start)):
            # Messages begin with the value at fault; what follows is the kind of fault.
            key = (problem.column, problem.message.split(" ", 1)[-1])
            first = merged.get(key, problem)
            count = problem.count + (first.count if key in merged else 0)
            merged[key] = Problem(first.column, first.row, count, first.message)
        start += table.num_rows
        if on_progress is not None:
            on_progress(table.num_rows)
    return list(merged.values())


def _not_images(table: pa.Table, start: int) -> list[Problem]:
    problems: list[Problem] = []
    for name in IMAGE_COLUMNS:
        if name in table.column_names:
            column = pl.DataFrame(table.select([name]))[name]
            wrong = (~(column.bin.starts_with(JPEG) | column.bin.starts_with(PNG))).arg_true()
            if len(wrong):
                message = "is neither a JPEG nor a PNG file"
                problems.append(Problem(name, start + int(wrong[0]), len(wrong), message))
    return problems


def _across_splits(path: str | Path, splits: set[str]) -> list[str]:
    """Find what no row shows by itself: rows twice, prompts in two splits, `_unique` splits that are not."""
    frames = {split: pl.DataFrame(read(path, ["caption", "ranking_id"], split)) for split in splits}
    faults: list[str] = []
    for split, frame in frames.items():
        twice = frame.height - frame["ranking_id"].n_unique()
        if twice:
            faults.append(f"split {split}: {twice:,} rows have a ranking_id that occurs before")
    disjoint = [split for split in (TRAIN, VALIDATION, TEST) if split in splits]
    for index, a in enumerate(disjoint):
        for b in disjoint[index + 1 :]:
            shared = frames[a]["caption"].unique().is_in(frames[b]["caption"].unique().implode()).sum()
            if shared:
                faults.append(f"splits {a} and {b}: {shared:,} prompts are in both")
    for unique, whole in ((VALIDATION_UNIQUE, VALIDATION), (TEST_UNIQUE, TEST)):
        if unique in splits:
            faults += _not_unique(unique, frames[unique], whole, frames.get(whole))
    return faults


def _not_unique(unique: str, frame: pl.DataFrame, whole: str, among: pl.DataFrame | None) -> list[str]:
    faults: list[str] = []
    repeated = frame.height - frame["caption"].n_unique()
    if repeated:
        faults.append(f"split {unique}: {repeated:,} rows repeat a prompt")
    if among is not None:
        strangers = frame.join(among, on="ranking_id", how="anti").height
        if strangers:
            faults.append(f"split {unique}: {strangers:,} rows are not in the split {whole}")
    return faults
