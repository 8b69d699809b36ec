"""The rows of a dataset that are evaluated: people's picks in one split, without the images, and what data they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pickapic.dataset import manifest
from pickapic.dataset.read import column_names, locate, read
from pickapic.evaluate.accuracy import Judgements
from pickapic.records import InputError
from pickapic.scorers.parquet import ParquetFiles
from pickapic.scorers.rows import Row
from pickapic.scorers.sources import Source, Wanted, open_source

KEYS = ("ranking_id", "image_0_uid", "image_1_uid")
"""What tells one row from another, in score tables too."""

_NEEDED = (*KEYS, "caption", "label_0")
_WANTED = ("user_id", "model_0", "model_1")


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The judged rows of one split: `table` without images; `judged` (rows of the split,) tells which those are.

    `split` None: all splits but those that only repeat rows.
    """

    dataset: str
    split: str | None
    table: pa.Table
    judged: NDArray[np.bool_]
    fingerprint: str

    @property
    def labels(self) -> NDArray[np.float64]:
        """Return label_0, (n,)."""
        return self.table["label_0"].to_numpy()

    def judgements(self) -> Judgements:
        """Return the picks as protocols take them."""
        users = self.table["user_id"] if "user_id" in self.table.column_names else None
        return Judgements(self.split or "all", self.labels, self.table["caption"], users, self.fingerprint)

    def images(self) -> Source:
        """Return the rows with their images, to be read in the memory of a few; unjudged rows are among them.

        Raises:
            InputError: the dataset has no images.
        """
        return open_source([self.dataset], Wanted(split=self.split))

    def examples(self, numbers: NDArray[np.int64]) -> Iterator[Row]:
        """Yield the judged rows of these numbers, read one by one."""
        places = np.flatnonzero(self.judged)
        source = self.images()
        for number in numbers.tolist():
            yield next(source.rows(int(places[number])))


def read_held_out(dataset: str, split: str | None, columns: Sequence[str] | None = None) -> HeldOut:
    """Read the judged rows of a split; no image is touched.

    Args:
        dataset: a folder, a file or a hub id.
        split: one split; None for the rows of all.
        columns: those that are wanted; None for those that protocols ask for, as far as they are there.

    Raises:
        InputError: nothing of that name, no such split or column, or no judged row in it.
    """
    present = column_names(dataset, split)
    wanted = columns or [*_NEEDED, *(name for name in (*_WANTED, "has_label") if name in present)]
    table = read(dataset, wanted, split)
    judged = np.ones(table.num_rows, np.bool_)
    if "has_label" in wanted:
        judged = np.array([label is True for label in table["has_label"].to_pylist()])
        table = table.filter(pa.array(judged)).drop_columns(["has_label"])
    if not table.num_rows:
        raise InputError(
            f"{dataset}, split {split or 'all'}, has no row with a judgement: there is nothing to evaluate"
        )
    if table["label_0"].null_count:
        raise InputError(
            f"{dataset}, split {split or 'all'}: {table['label_0'].null_count:,} judged rows have no label_0"
        )
    return HeldOut(dataset, split, table, judged, fingerprint(dataset, split))


def fingerprint(dataset: str, split: str | None) -> str:
    """Return what a result says of its data: the manifest's digest of every byte, where the dataset has a manifest.

    Other datasets have one of their files' sizes, times and footers, marked by "files:": it changes when they are
    copied.
    """
    folder = Path(dataset)
    if (folder / manifest.MANIFEST).is_file():
        return manifest.load(folder).fingerprint
    source = locate(dataset)
    return f"files:{ParquetFiles(dataset, source.split_files(split), source.filesystem).fingerprint('preferences')}"
