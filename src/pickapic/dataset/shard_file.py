"""One file of pictures: what is in it follows from the plan alone, so files can be written in any order, anywhere."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pickapic.dataset.manifest import file_sha256
from pickapic.dataset.read import batches
from pickapic.dataset.schema import IMAGE_COLUMNS
from pickapic.dataset.shard_plan import UIDS, ShardPlan
from pickapic.dataset.shards import DIGEST_BYTES, ShardFile, picture_schema
from pickapic.model.preprocess import ImageTransform
from pickapic.records import InputError

FILE_BYTES = 512 * 2**20
BLOCK_BYTES = 16 * 2**20
PARTIAL = ".partial"
_ROWS_AT_ONCE = 64
_AHEAD = 8


@dataclass(frozen=True, slots=True)
class Layout:
    """How the pictures of a plan lie in files: `block` in a record batch, `file_pictures` in a file."""

    plan: ShardPlan
    block: int
    file_pictures: int

    @classmethod
    def of(cls, plan: ShardPlan, file_bytes: int = FILE_BYTES) -> Layout:
        """Return the layout with files of about `file_bytes`."""
        square = plan.squares.square_bytes
        block = max(1, min(BLOCK_BYTES, file_bytes) // square)
        return cls(plan, block, block * max(1, file_bytes // (block * square)))

    @property
    def files(self) -> int:
        """Number of files."""
        return -(-self.plan.pictures // self.file_pictures)

    def pictures(self, file: int) -> range:
        """Return the numbers of the pictures in a file."""
        start = file * self.file_pictures
        return range(start, min(start + self.file_pictures, self.plan.pictures))

    def places(self, file: int) -> range:
        """Return the places of the dataset that belong to a file: from its first picture's to the next file's."""
        first = self.plan.first
        start, stop = self.pictures(file).start, self.pictures(file).stop
        end = int(first[stop]) if stop < len(first) else 2 * sum(map(len, self.plan.numbers.values()))
        return range(int(first[start]), end)


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A file that is whole and on the disk, and what must be known to compare images that have the same uid.

    `digests` are those of its pictures, uint8 (pictures, 16). `repeats` are the places, int64 (n,), where images stand
    that have stood before, and `repeat_digests`, uint8 (n, 16), say what they are.
    """

    file: ShardFile
    digests: NDArray[np.uint8]
    repeats: NDArray[np.int64]
    repeat_digests: NDArray[np.uint8]


def write_pictures(
    layout: Layout,
    number: int,
    folder: Path,
    threads: int = 1,
    on_progress: Callable[[int], None] | None = None,
) -> WrittenFile:
    """Decode the pictures of file `number` and write it to `folder`.

    Args:
        layout: what is written.
        number: of the file.
        folder: where it is written; it gets its name when it is whole.
        threads: that decode.
        on_progress: is told how many more pictures are written.

    Raises:
        InputError: an image cannot be decoded; the column and row are named.
    """
    name = f"pictures-{number:05d}.arrow"
    # A node that was given up for dead may still be writing the same file.
    partial = folder / f".{name}.{secrets.token_hex(8)}{PARTIAL}"
    wanted = layout.pictures(number)
    schema = picture_schema(layout.plan.squares.square_bytes)
    block = _Block(layout.block, layout.plan.squares.square_bytes)
    digests: list[bytes] = []
    repeats: list[_Prepared] = []
    with pa.OSFile(str(partial), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for picture in _prepared(layout.plan, layout.places(number), threads):
            if picture.square is None:
                repeats.append(picture)
                continue
            block.add(picture.uid, picture.digest, picture.square)
            digests.append(picture.digest)
            if block.is_full or len(digests) == len(wanted):
                writer.write_batch(block.take(schema))
            if on_progress is not None:
                on_progress(1)
    partial.replace(folder / name)
    return WrittenFile(
        on_the_disk(folder, name, None, len(digests)),
        _rows(digests),
        np.array([repeat.place for repeat in repeats], np.int64),
        _rows([repeat.digest for repeat in repeats]),
    )


def on_the_disk(folder: Path, path: str, split: str | None, rows: int) -> ShardFile:
    """Return the description of a file, once it is sure to be on the disk."""
    full = folder / path
    descriptor = os.open(full, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return ShardFile(path, split, rows, full.stat().st_size, file_sha256(full))


@dataclass(frozen=True, slots=True)
class _Coming:
    place: int
    uid: str
    where: str
    work: Future[tuple[bytes, NDArray[np.uint8] | None]]


@dataclass(frozen=True, slots=True)
class _Prepared:
    """An image: its square where it stands for the first time, None where it is repeated."""

    place: int
    uid: str
    digest: bytes
    square: NDArray[np.uint8] | None


def _prepared(plan: ShardPlan, places: range, threads: int) -> Iterator[_Prepared]:
    """Yield the images of some places in order, decoded in threads ahead of what takes them."""
    coming: deque[_Coming] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
        try:
            for place, number, uid, data in _occurrences(plan, places):
                transform = plan.transform if plan.first[number] == place else None
                work = pool.submit(_prepare, transform, data)
                coming.append(_Coming(place, uid, plan.where(place), work))
                if len(coming) >= _AHEAD * threads:
                    yield _finished(coming.popleft())
            while coming:
                yield _finished(coming.popleft())
        finally:
            for item in coming:
                item.work.cancel()


def _finished(item: _Coming) -> _Prepared:
    try:
        digest, square = item.work.result()
    except InputError as error:
        raise InputError(f"{item.where}: {error}") from error
    return _Prepared(item.place, item.uid, digest, square)


def _prepare(transform: ImageTransform | None, data: bytes) -> tuple[bytes, NDArray[np.uint8] | None]:
    digest = hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest()
    return digest, None if transform is None else transform.square_of(data)


def _occurrences(plan: ShardPlan, places: range) -> Iterator[tuple[int, int, str, bytes]]:
    """Yield (place, number of the picture, uid, encoded image)."""
    before = 0  # places of the splits before
    for split, numbers in plan.numbers.items():
        start, stop = max(places.start - before, 0), min(places.stop - before, 2 * len(numbers))
        if start < stop:
            row = start // 2
            for batch in batches(plan.data, (*UIDS, *IMAGE_COLUMNS), split, _ROWS_AT_ONCE, row):
                uids = [cast(list[str], batch.column(name).to_pylist()) for name in UIDS]
                images = [batch.column(name) for name in IMAGE_COLUMNS]
                for index in range(batch.num_rows):
                    for side in (0, 1):
                        place = 2 * (row + index) + side
                        if start <= place < stop:
                            data = images[side][index].as_py() or b""
                            number = int(numbers[row + index, side])
                            yield before + place, number, uids[side][index], data
                row += batch.num_rows
                if 2 * row >= stop:
                    break
        before += 2 * len(numbers)


class _Block:
    """Pictures of one record batch, gathered in memory that is used again."""

    def __init__(self, size: int, square_bytes: int) -> None:
        self._squares = np.empty((size, square_bytes), np.uint8)
        self._uids: list[str] = []
        self._digests: list[bytes] = []

    @property
    def is_full(self) -> bool:
        return len(self._uids) == len(self._squares)

    def add(self, uid: str, digest: bytes, square: NDArray[np.uint8]) -> None:
        self._squares[len(self._uids)] = square.reshape(-1)
        self._uids.append(uid)
        self._digests.append(digest)

    def take(self, schema: pa.Schema) -> pa.RecordBatch:
        """Return the record batch and begin a new one: what it points to changes with the next `add`."""
        count = len(self._uids)
        values = pa.py_buffer(cast(Any, self._squares[:count]))
        squares = pa.FixedSizeBinaryArray.from_buffers(schema.field("square").type, count, [None, values])
        digests = pa.array(self._digests, schema.field("digest").type)
        columns = [pa.array(self._uids, pa.string()), digests, squares]
        batch = pa.RecordBatch.from_arrays(columns, schema=schema)
        self._uids, self._digests = [], []
        return batch


def _rows(digests: list[bytes]) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, DIGEST_BYTES)
