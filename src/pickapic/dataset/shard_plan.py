"""What shards will hold: every different image of a dataset gets a number, before any image is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from pickapic.dataset.read import batches, column_names, fingerprint_of, locate, read
from pickapic.dataset.schema import IMAGE_COLUMNS
from pickapic.dataset.shards import ShardsManifest, SquareFormat
from pickapic.model.preprocess import ImageTransform
from pickapic.records import InputError

UIDS = ("image_0_uid", "image_1_uid")


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """What shards will hold: for each row of each split the numbers of its two pictures, in order of appearance.

    `numbers` are int32 (rows, 2) by split; `first` holds for each picture the place where it stands first, as a number
    that counts the sides of all rows of all splits.
    """

    data: str
    fingerprint: str
    transform: ImageTransform
    numbers: dict[str, NDArray[np.int32]]
    first: NDArray[np.int64]

    @property
    def pictures(self) -> int:
        """Number of different images."""
        return len(self.first)

    @property
    def squares(self) -> SquareFormat:
        """The squares that are written."""
        return SquareFormat.of(self.transform)

    def where(self, place: int) -> str:
        """Return dataset, column and row of a place, as errors name it."""
        split, row, side = self._at(place)
        return f"{self.data} {split}: column jpg_{side}, row {row:,}"

    def within(self, place: int) -> str:
        """Return split, column and row of a place."""
        split, row, side = self._at(place)
        return f"{split}, column jpg_{side}, row {row:,}"

    def uid(self, place: int) -> str:
        """Return the uid that stands at a place; its row is read for it."""
        split, row, side = self._at(place)
        return str(next(batches(self.data, [UIDS[side]], split, 1, row)).column(0)[0].as_py())

    def _at(self, place: int) -> tuple[str, int, int]:
        row, side = divmod(place, 2)
        for split, numbers in self.numbers.items():
            if row < len(numbers):
                return split, row, side
            row -= len(numbers)
        raise IndexError(place)

    def matches(self, manifest: ShardsManifest) -> bool:
        """Tell whether these are the shards that the plan would write."""
        return (
            manifest.dataset_fingerprint == self.fingerprint
            and manifest.squares == self.squares
            and manifest.splits == {split: len(numbers) for split, numbers in self.numbers.items()}
        )


def plan_shards(data: str | Path, transform: ImageTransform, splits: Sequence[str] = ()) -> ShardPlan:
    """Number the images of a dataset by their uids; no image is read yet.

    Args:
        data: as `pickapic.dataset.read.read` takes it.
        transform: of the checkpoint that will be trained.
        splits: their names; none: all.

    Raises:
        InputError: there is no such data or split, it holds no images, or a uid is missing (the row is named).
    """
    source = locate(data)
    names = list(dict.fromkeys(splits)) or list(source.files)
    present = column_names(data)
    for column in (*UIDS, *IMAGE_COLUMNS):
        if column not in present:
            raise InputError(
                f"{source.name} has no column {column!r}: shards are made of images and their uids"
            )
    columns: list[pa.ChunkedArray[Any]] = []
    for split in names:
        table = read(data, UIDS, split)
        for column in UIDS:
            rows = (pl.Series(table[column]).fill_null("") == "").arg_true()
            if len(rows):
                raise InputError(
                    f"{source.name} {split}: column {column}, row {rows[0]:,}: an image without a uid"
                )
            columns.append(table[column])
    everything = pa.chunked_array([chunk for column in columns for chunk in column.chunks], pa.string())
    if not len(everything):
        raise InputError(f"{source.name}: {', '.join(names)}: no rows")
    codes = everything.combine_chunks().dictionary_encode().indices.to_numpy()
    ends = np.cumsum([len(column) for column in columns])
    sides = np.split(codes, ends[:-1])
    pairs = [np.stack(sides[index : index + 2], axis=1) for index in range(0, len(sides), 2)]
    flat = np.concatenate(pairs).ravel()
    _, first = np.unique(flat, return_index=True)
    place = np.empty(len(first), np.int32)
    place[np.argsort(first)] = np.arange(len(first), dtype=np.int32)
    numbers = {split: place[pair] for split, pair in zip(names, pairs, strict=True)}
    return ShardPlan(source.name, fingerprint_of(source, names), transform, numbers, np.sort(first))
