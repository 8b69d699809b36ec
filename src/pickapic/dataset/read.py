"""Read a preference dataset: our own folders, single Parquet files, buckets, Hugging Face folders and hub datasets."""

from __future__ import annotations

import hashlib
import importlib
import re
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar, cast

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pickapic.dataset.bucket import is_url, list_files
from pickapic.dataset.schema import IGNORED, IMAGE_COLUMNS, SCHEMA, TEST_UNIQUE, TIE, TRAIN, VALIDATION_UNIQUE
from pickapic.plugins import nearest
from pickapic.records import InputError

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
SHARD = re.compile(r"(?P<split>[A-Za-z]\w*?)-\d{5}-of-\d{5}(-[0-9a-f]+)?")
REPEATED = (VALIDATION_UNIQUE, TEST_UNIQUE)
"""Splits whose rows are all in another split too."""

ROWS_WITH_IMAGES, ROWS_WITHOUT_IMAGES = 256, 65_536
"""Rows of a batch where the caller does not say: with images 8-100 MB, without them some 30 MB."""

_FILES_AT_ONCE = 16
"""Files that are opened side by side where each is a few requests over a network."""

_WINDOW_BYTES = 1 << 20

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Source:
    """Where a dataset lies: its Parquet files by split, on a file system (None: the local one)."""

    name: str
    files: dict[str, tuple[str, ...]]
    filesystem: Any = None

    def split_files(self, split: str | None) -> list[str]:
        """Return the files of `split`; for None those of all splits, less the ones that only repeat rows."""
        if split is None:
            names = [name for name in self.files if name not in REPEATED] or list(self.files)
        elif split in self.files:
            names = [split]
        else:
            known = ", ".join(self.files)
            raise InputError(
                f"{self.name} has no split {split!r}{nearest(split, self.files)}; it has: {known}"
            )
        return [path for name in names for path in self.files[name]]


def read(
    path_or_hub_id: str | Path, columns: Sequence[str] | None = None, split: str | None = None
) -> pa.Table:
    """Read a dataset, or some columns of it, into memory.

    Args:
        path_or_hub_id: a folder of Parquet files (`data/<split>-00000-of-0000N.parquet`, `<split>.parquet`
            or `<split>/*.parquet`), one Parquet file, the URL of such a folder (`s3://bucket/folder`), or a Hugging
            Face dataset id (`owner/name`).
        columns: names to read, in this order; None for every released column that is there. Other columns are
            not touched on disk, so that leaving out `jpg_0` and `jpg_1` reads no image.
        split: one split; None for the rows of all splits (without `_unique`, which only repeats rows).

    Returns:
        A table with the types of `SCHEMA`. `best_image_uid` is "none" on a tie however the file writes it.

    Raises:
        InputError: nothing there, no such split or column, or a column that cannot be read as its type.
    """
    source = locate(path_or_hub_id)
    tables = _of_each(source, source.split_files(split), lambda path: _read_file(source, path, columns))
    try:
        return pa.concat_tables(tables)
    except pa.ArrowInvalid as error:
        raise InputError(f"the files of {source.name} do not have the same columns: {error}") from error


def batches(
    path_or_hub_id: str | Path,
    columns: Sequence[str] | None = None,
    split: str | None = None,
    batch_size: int | None = None,
    start: int = 0,
) -> Iterator[pa.RecordBatch]:
    """Read as `read` does, in batches of at most `batch_size` rows; memory holds one row group.

    The first row is number `start`; row groups before it are not read. Files without images are read in larger
    batches than those with, unless `batch_size` is given.
    """
    source = locate(path_or_hub_id)
    for path in source.split_files(split):
        with _open(source, path) as file:
            chosen = _chosen(path, file.schema_arrow.names, columns)
            size = batch_size or _batch_rows(chosen)
            row = 0
            # One reader over all row groups keeps what it has read; so one reader for every few of them.
            for groups, group_rows in _groups_of(file.metadata, size):
                if start >= row + group_rows:
                    row += group_rows
                    continue
                for batch in _whole(path, file.iter_batches(size, groups, chosen, use_threads=False)):
                    skipped = min(max(0, start - row), len(batch))
                    table = pa.Table.from_batches([batch.slice(skipped)])
                    yield from conform(table, path, row + skipped).select(chosen).to_batches()
                    row += len(batch)
            start = max(0, start - row)


def row_counts(path_or_hub_id: str | Path, split: str | None = None) -> dict[str, int]:
    """Return the number of rows by split, or of one split, from the files' footers alone."""
    source = locate(path_or_hub_id)
    names = list(source.files) if split is None else [split]
    paths = [path for name in names for path in source.split_files(name)]
    rows = dict(zip(paths, _of_each(source, paths, lambda path: _rows_of(source, path)), strict=True))
    return {name: sum(rows[path] for path in source.files[name]) for name in names}


def column_names(path_or_hub_id: str | Path, split: str | None = None) -> list[str]:
    """Return the columns of the first file, or of a split's first file, as they are on disk."""
    source = locate(path_or_hub_id)
    with _open(source, source.split_files(split)[0]) as file:
        return list(file.schema_arrow.names)


def fingerprint_of(source: Source, splits: Sequence[str]) -> str:
    """Return sixteen hex digits for the files of some splits: their names, sizes and what their footers say."""
    paths = [(split, path) for split in splits for path in source.split_files(split)]
    facts = _of_each(source, [path for _, path in paths], lambda path: _facts_of(source, path))
    digest = hashlib.sha256()
    for (split, path), (size, groups) in zip(paths, facts, strict=True):
        digest.update(repr((split, PurePosixPath(path).name, size, groups)).encode())
    return digest.hexdigest()[:16]


def locate(path_or_hub_id: str | Path) -> Source:
    """Find the Parquet files of a dataset and sort them into splits.

    Raises:
        InputError: there is nothing of that name, or no Parquet file in it.
    """
    path = Path(path_or_hub_id)
    if path.is_file():
        return Source(str(path), {_split_of(PurePosixPath(path.name)): (str(path),)})
    if path.is_dir():
        found = sorted(item for item in path.rglob("*.parquet") if not _hidden(item.relative_to(path)))
        if not found:
            raise InputError(f"the folder {path} holds no Parquet file")
        return Source(str(path), _by_split({str(item): item.relative_to(path).as_posix() for item in found}))
    if isinstance(path_or_hub_id, str) and is_url(path_or_hub_id):
        files, filesystem = list_files(path_or_hub_id, ".parquet")
        return Source(path_or_hub_id, _by_split(files), filesystem)
    if isinstance(path_or_hub_id, str) and HUB_ID.fullmatch(path_or_hub_id):
        return _on_hub(path_or_hub_id)
    raise InputError(
        f"there is no file or folder {str(path_or_hub_id)!r}, and it is not a hub id (owner/name)"
    )


def conform(table: pa.Table, source: str, first_row: int = 0) -> pa.Table:
    """Cast known columns to the types of `SCHEMA` and write every tie's `best_image_uid` as "none".

    Raises:
        InputError: a value does not fit its type; the column and row are named (`first_row` is that of the table).
    """
    for index, name in enumerate(table.column_names):
        if name not in SCHEMA.names:
            continue
        field = SCHEMA.field(name)
        column = table[name]
        if column.type != field.type:
            try:
                column = column.cast(_naive(column.type)).cast(field.type)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                row = first_row + _first_misfit(column, field.type)
                raise InputError(
                    f"{source}: column {name!r} is not {field.type} in row {row:,}: {error}"
                ) from error
        if name == "best_image_uid":
            uids = pl.Series(column).fill_null("").replace({"": TIE})
            column = pa.chunked_array([uids.to_arrow().cast(field.type)])
        table = table.set_column(index, field, column)
    return table.replace_schema_metadata(None)


def _read_file(source: Source, path: str, columns: Sequence[str] | None) -> pa.Table:
    with _open(source, path) as file:
        chosen = _chosen(path, file.schema_arrow.names, columns)
        with _readable(path):
            table = file.read(columns=chosen)
        return conform(table.select(chosen), path)


def _open(source: Source, path: str) -> pq.ParquetFile:
    # Over a network what is wanted of a row group is fetched in few large pieces; on disk that would only cost memory.
    local = {"pre_buffer": False, "buffer_size": _WINDOW_BYTES} if source.filesystem is None else {}
    with _readable(path):
        return pq.ParquetFile(path, filesystem=source.filesystem, **cast(Any, {"pre_buffer": True} | local))


@contextmanager
def _readable(path: str) -> Generator[None]:
    """Say in a sentence what is wrong with a file.

    Raises:
        InputError: it is no Parquet file, is damaged, or where it lies does not give it.
    """
    try:
        yield
    except pa.ArrowInvalid as error:
        raise InputError(f"{path} is not a complete Parquet file: {error}") from error
    except OSError as error:
        # Arrow breaks what it says into lines.
        raise InputError(f"{path} cannot be read: {' '.join(str(error).split())}") from error


def _whole(path: str, rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    with _readable(path):
        yield from rows


def _of_each(source: Source, paths: Sequence[str], work: Callable[[str], T]) -> list[T]:
    """Do `work` for each file, side by side where they lie behind a network; results are in the order of `paths`."""
    if source.filesystem is None or len(paths) < 2:
        return [work(path) for path in paths]
    with ThreadPoolExecutor(_FILES_AT_ONCE, thread_name_prefix="read") as pool:
        try:
            return list(pool.map(work, paths))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _rows_of(source: Source, path: str) -> int:
    with _open(source, path) as file:
        return file.metadata.num_rows


def _facts_of(source: Source, path: str) -> tuple[int, list[tuple[int, int]]]:
    with _open(source, path) as file:
        groups = [file.metadata.row_group(group) for group in range(file.metadata.num_row_groups)]
        return file.metadata.serialized_size, [(group.num_rows, group.total_byte_size) for group in groups]


def _batch_rows(columns: Sequence[str]) -> int:
    return ROWS_WITH_IMAGES if any(name in columns for name in IMAGE_COLUMNS) else ROWS_WITHOUT_IMAGES


def _groups_of(metadata: pq.FileMetaData, rows: int) -> Iterator[tuple[list[int], int]]:
    """Yield runs of row groups that hold at least `rows` rows together (the last may hold fewer), and their rows."""
    run: list[int] = []
    waiting = 0
    for group in range(metadata.num_row_groups):
        run.append(group)
        waiting += metadata.row_group(group).num_rows
        if waiting >= rows:
            yield run, waiting
            run, waiting = [], 0
    if run:
        yield run, waiting


def _chosen(path: str, present: Sequence[str], columns: Sequence[str] | None) -> list[str]:
    if columns is None:
        chosen = [name for name in SCHEMA.names if name in present]
        if not chosen:
            shown = ", ".join(name for name in present if name not in IGNORED) or "none"
            raise InputError(f"{path} is not a preference dataset: its columns are {shown}")
        return chosen
    for name in columns:
        if name not in present:
            raise InputError(f"{path} has no column {name!r}{nearest(name, present)}")
    return list(columns)


def _naive(type_: pa.DataType) -> pa.DataType:
    """A time with a zone is stored as UTC: take the zone off. Dictionaries become their values."""
    if pa.types.is_timestamp(type_):
        return pa.timestamp(type_.unit)
    return type_.value_type if pa.types.is_dictionary(type_) else type_


def _first_misfit(column: pa.ChunkedArray[Any], type_: pa.DataType) -> int:
    """Return the number of the first value that cannot be cast, found by halving."""
    first, length = 0, len(column)
    while length > 1:
        half = length // 2
        try:
            column.slice(first, half).cast(_naive(column.type)).cast(type_)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            length = half
        else:
            first, length = first + half, length - half
    return first


def _by_split(files: dict[str, str]) -> dict[str, tuple[str, ...]]:
    """Sort paths (absolute -> inside the dataset) into splits, in the order of the release where known."""
    splits: dict[str, list[str]] = {}
    for path, inside in files.items():
        splits.setdefault(_split_of(PurePosixPath(inside)), []).append(path)
    return {name: tuple(paths) for name, paths in splits.items()}


def _split_of(path: PurePosixPath) -> str:
    """`data/test-00000-of-00002.parquet`, `test.parquet`, `default/test/0000.parquet`: all are split test."""
    shard = SHARD.fullmatch(path.stem)
    if shard:
        return shard["split"]
    if re.fullmatch(r"[A-Za-z_]\w*", path.stem):
        return path.stem
    return path.parent.name if path.parent.name not in ("", "data") else TRAIN


def _hidden(path: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.parts)


def _on_hub(hub_id: str) -> Source:
    try:
        # Loaded by name: huggingface_hub comes with the extra `models` and is wanted only here.
        hub = importlib.import_module("pickapic.dataset.hub")
    except ModuleNotFoundError as error:
        raise InputError(
            f"there is no folder {hub_id!r} here, and to read it from the Hugging Face hub the package "
            f"{error.name!r} is needed: pip install huggingface_hub"
        ) from error
    files, filesystem = hub.parquet_files(hub_id)
    return Source(hub_id, _by_split(files), filesystem)
