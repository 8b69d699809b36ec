"""Write a dataset folder: Parquet shards, card, manifest; all of it or nothing."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pickapic.dataset.card import render
from pickapic.dataset.journal import Finished, Journal, Plan
from pickapic.dataset.manifest import MANIFEST, About, LeftOut, Manifest, Shard, load
from pickapic.dataset.read import batches, column_names, conform
from pickapic.dataset.schema import IMAGE_COLUMNS, SCHEMA, SCHEMA_NO_IMAGES, require_columns
from pickapic.dataset.stats import Counting, Stats, stats_columns
from pickapic.records import InputError

SHARD_BYTES = 500_000_000
ROW_GROUP_ROWS = 256
"""With two images of some 15-200 KB a row, a row group is read in 8-100 MB of memory."""

ROW_GROUP_ROWS_NO_IMAGES = 65_536
DICTIONARIES = ["caption", "model_0", "model_1", "image_0_url", "image_1_url"]
SPLIT_NAME = re.compile(r"[A-Za-z]\w*")


def write(
    out: str | Path,
    tables: Mapping[str, pa.Table],
    about: About | None = None,
    *,
    left_out: tuple[LeftOut, ...] = (),
    shard_bytes: int = SHARD_BYTES,
    overwrite: bool = False,
) -> Manifest:
    """Write tables by split name as a dataset folder that `read` and `datasets.load_dataset` open.

    Raises:
        InputError: `out` is there already (and `overwrite` is false, or it is no dataset), or a table lacks
            a column.
    """
    images = any(name in table.column_names for table in tables.values() for name in IMAGE_COLUMNS)
    with DatasetWriter(out, about, images=images, shard_bytes=shard_bytes, overwrite=overwrite) as writer:
        for split, table in tables.items():
            writer.add(split, table)
        return writer.finish(left_out)


def write_card(folder: Path, manifest: Manifest) -> None:
    """Count the rows in `folder` and write its README.md."""
    present = set(column_names(folder))
    counts = {split: _count(folder, stats_columns(present), split) for split in manifest.splits}
    schema = pa.schema([field for field in SCHEMA if field.name in present])
    partial = folder / ".README.md.partial"
    partial.write_text(render(manifest, counts, schema), encoding="utf-8")
    partial.replace(folder / "README.md")


def _count(folder: Path, columns: tuple[str, ...], split: str) -> Stats:
    counting = Counting()
    for batch in batches(folder, columns, split):
        counting.add(pa.Table.from_batches([batch]))
    return counting.result()


class DatasetWriter:
    """Writes rows as they come, for any number of splits at once, in the memory of one row group a split.

    Use as a context manager and end with `finish`. Everything goes to a hidden folder beside `out`, which
    takes its place as the last step; left without `finish`, nothing remains.

    With a `plan` what was finished remains, and the next writer of the same plan goes on with it: it takes the rows
    that `kept` counts as written, and passes over them if they are added again. The files are the same to the byte.
    """

    def __init__(
        self,
        out: str | Path,
        about: About | None = None,
        *,
        images: bool = True,
        shard_bytes: int = SHARD_BYTES,
        row_group_rows: int | None = None,
        overwrite: bool = False,
        plan: Plan | None = None,
        splits: Sequence[str] = (),
    ) -> None:
        """Prepare to write `out`; with a `plan` all `splits` are named beforehand."""
        self.out = Path(out).absolute()
        self.about = about or About()
        self.schema = SCHEMA if images else SCHEMA_NO_IMAGES
        self.shard_bytes = shard_bytes
        self.row_group_rows = row_group_rows or (ROW_GROUP_ROWS if images else ROW_GROUP_ROWS_NO_IMAGES)
        self.overwrite = overwrite
        self.plan = plan
        self.is_finished = False
        """Whether `out` was written by the same plan before: then there is nothing to add."""
        mark = "" if plan else f".{secrets.token_hex(4)}"
        self.folder = self.out.parent / f".{self.out.name}{mark}.partial"
        self.journal = Journal(self.folder, plan.text(self._layout(splits)) if plan else "")
        if not self._was_written():
            _refuse_to_destroy(self.out, overwrite)
        self._splits: dict[str, SplitWriter] = {split: SplitWriter(self, split) for split in splits}

    def __enter__(self) -> Self:
        """Begin, or go on.

        Raises:
            InputError: another process is writing the same folder.
        """
        self.is_finished = self._was_written()
        if not self.is_finished:
            for split, files in self.journal.begin().items():
                self._splits[split].finished = files
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.is_finished:
            return
        for split in self._splits.values():
            split.abandon()
        if self.plan is None or not any(split.finished for split in self._splits.values()):
            shutil.rmtree(self.folder, ignore_errors=True)
        self.journal.release()

    def kept(self, split: str) -> int:
        """Return how many of a split's rows are in files that an earlier run finished."""
        return self._splits[split].kept

    def add(self, split: str, rows: pa.Table, first: int | None = None) -> None:
        """Add rows to a split; columns beyond the schema are dropped.

        Args:
            split: its name.
            rows: in their order.
            first: the number in the split of the first of `rows`; None: they follow the rows added before.

        Raises:
            InputError: a column is missing or cannot be cast, or the split's name is not a word.
        """
        if not SPLIT_NAME.fullmatch(split) or split == "all":
            raise InputError(f"{split!r} cannot name a split: letters, digits and _ (and not 'all')")
        require_columns(rows, tuple(self.schema.names), f"writing the split {split!r}")
        if split not in self._splits:
            self._splits[split] = SplitWriter(self, split)
        self._splits[split].add(rows.select(self.schema.names), first)

    def finish(self, left_out: tuple[LeftOut, ...] = (), facts: tuple[tuple[str, str], ...] = ()) -> Manifest:
        """Close the shards, write card and manifest, and put the folder in its place."""
        if self.is_finished:
            self.journal.close(self.out)  # where a run was stopped after the very last name
            return load(self.out)
        # Every split is closed and noted before the first file is renamed.
        for split in self._splits.values():
            split.close()
        shards = tuple(shard for split in self._splits.values() for shard in split.name_files())
        planned = (("plan", self.journal.mark),) if self.plan else ()
        manifest = Manifest(shards, left_out, (*facts, *planned), self.about)
        write_card(self.folder, manifest)
        manifest.write(self.folder)
        _put_in_place(self.folder, self.out)
        self.journal.close(self.out)
        return manifest

    def _was_written(self) -> bool:
        if self.plan is None or self.overwrite or not (self.out / MANIFEST).is_file():
            return False
        return load(self.out).fact("plan") == self.journal.mark

    def _layout(self, splits: Sequence[str]) -> dict[str, object]:
        return {
            "columns": self.schema.names,
            "shard_bytes": self.shard_bytes,
            "row_group_rows": self.row_group_rows,
            "splits": list(splits),
        }


class SplitWriter:
    """The shards of one split: a new one is begun when the last has reached its size."""

    def __init__(self, dataset: DatasetWriter, split: str) -> None:
        self.dataset = dataset
        self.split = split
        self.waiting: list[pa.Table] = []
        self.finished: list[Finished] = []
        self.file: pa.OSFile | None = None
        self.writer: pq.ParquetWriter | None = None
        self.offered = 0
        self.rows = 0
        self.memory = 0

    @property
    def kept(self) -> int:
        """Rows in finished files."""
        return sum(file.rows for file in self.finished)

    def add(self, rows: pa.Table, first: int | None) -> None:
        """Take those rows that are not there yet and write them in whole row groups; what is left waits."""
        begin = self.offered if first is None else first
        taken = self.kept + self.rows + sum(table.num_rows for table in self.waiting)
        if begin > taken:
            raise ValueError(f"row {begin} of {self.split} is added after row {taken}")
        self.offered = begin + rows.num_rows
        if self.offered <= taken:
            return
        self.waiting.append(conform(rows.slice(taken - begin), self.split))
        size = self.dataset.row_group_rows
        if sum(table.num_rows for table in self.waiting) < size:
            return
        table = pa.concat_tables(self.waiting)
        whole = table.num_rows - table.num_rows % size
        for start in range(0, whole, size):
            self._write(table.slice(start, size))
        self.waiting = [table.slice(whole)]

    def close(self) -> None:
        """Write what waits."""
        rest = pa.concat_tables([self.dataset.schema.empty_table(), *self.waiting])
        if rest.num_rows or not (self.finished or self.writer):
            self._write(rest)
        self._close()

    def name_files(self) -> list[Shard]:
        """Give the files their final names, and describe them."""
        shards: list[Shard] = []
        for file in self.finished:
            name = f"data/{self.split}-{file.number:05d}-of-{len(self.finished):05d}.parquet"
            (self.dataset.folder / "data" / file.name).rename(self.dataset.folder / name)
            shards.append(Shard(name, self.split, file.rows, file.bytes, file.memory, file.sha256))
        return shards

    def abandon(self) -> None:
        """Let go of open files after a failure (a full disk fails again on closing)."""
        for open_file in (self.writer, self.file):
            with contextlib.suppress(OSError):
                if open_file:
                    open_file.close()

    def _write(self, group: pa.Table) -> None:
        writer = self.writer or self._open()
        # Pages are cut where chunks end: in one piece, the bytes do not depend on how the rows came.
        group = group.combine_chunks()
        writer.write_table(group, row_group_size=max(1, group.num_rows))
        self.rows += group.num_rows
        self.memory += _memory(group)
        if self.file and self.file.tell() >= self.dataset.shard_bytes:
            self._close()

    def _open(self) -> pq.ParquetWriter:
        schema = self.dataset.schema
        plain = [name for name in schema.names if name not in IMAGE_COLUMNS]
        self.file = pa.OSFile(str(self._path()), "wb")
        # JPEG bytes do not compress and have no useful order: no codec, dictionary or statistics for them.
        self.writer = pq.ParquetWriter(
            self.file,
            schema,
            compression={name: "zstd" if name in plain else "none" for name in schema.names},
            use_dictionary=DICTIONARIES,  # pyright: ignore[reportArgumentType]  (the stubs know only bool)
            write_statistics=plain,
        )
        return self.writer

    def _close(self) -> None:
        if not (self.writer and self.file):
            return
        self.writer.close()
        self.file.close()
        self.file = self.writer = None
        journal, number = self.dataset.journal, len(self.finished)
        self.finished.append(journal.add(self._path(), self.split, number, self.kept, self.rows, self.memory))
        self.rows = self.memory = 0

    def _path(self) -> Path:
        return self.dataset.folder / "data" / f"{self.split}-{len(self.finished):05d}.writing"


def _memory(table: pa.Table) -> int:
    """Return the bytes that rows take in Arrow, less the marks of what is null (which come and go with the reader)."""
    total = 0
    for column in table.columns:
        if pa.types.is_string(column.type) or pa.types.is_binary(column.type):
            length = pc.sum(pc.binary_length(column)).as_py() or 0
            total += int(length) + 4 * (len(column) + 1)
        else:
            total += (len(column) * column.type.bit_width + 7) // 8
    return total


def _refuse_to_destroy(out: Path, overwrite: bool) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not out.is_dir():
        raise InputError(f"{out} is a file; give the name of a folder")
    if not overwrite:
        raise InputError(f"{out} is there already; choose another name, or say that it may be overwritten")
    if not (out / MANIFEST).is_file():
        raise InputError(f"{out} is not a dataset written by pickapic (no {MANIFEST}): it is left as it is")


def _put_in_place(folder: Path, out: Path) -> None:
    """Rename `folder` to `out`; what stood there is moved aside first and removed last."""
    aside = folder.with_suffix(".old")
    if out.exists():
        shutil.rmtree(aside, ignore_errors=True)
        os.rename(out, aside)
    os.rename(folder, out)
    shutil.rmtree(aside, ignore_errors=True)
