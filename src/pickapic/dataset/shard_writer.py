"""Writes shards: every different image decoded once, in the memory of one record batch; goes on after a kill."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pickapic.dataset.read import batches, column_names
from pickapic.dataset.shard_file import FILE_BYTES, PARTIAL, Layout, WrittenFile, on_the_disk, write_pictures
from pickapic.dataset.shard_plan import ShardPlan
from pickapic.dataset.shards import (
    DIGEST_BYTES,
    MANIFEST,
    NUMBERS,
    ROW_SCHEMA,
    ShardFile,
    Shards,
    ShardsManifest,
)
from pickapic.records import InputError

Engine = Callable[[Layout, Path, Sequence[int]], Generator[WrittenFile, None, None]]
"""Writes the files of these numbers to a folder, and yields them in their order."""

_TABLE_ROWS = 65_536
_PROGRESS = ".progress"
_PLAN = "plan.json"
_LOCK = "lock"


class ShardWriter:
    """Writes the shards of a plan: a context manager, in which `fill` is called.

    Beside `out` the hidden folder `.<out>.partial` holds what is finished; it takes the name `out` at the end. A run
    that was killed is taken up by the next one with the same plan: it loses the file that was being written.
    """

    def __init__(
        self, plan: ShardPlan, out: Path, *, overwrite: bool = False, file_bytes: int = FILE_BYTES
    ) -> None:
        self.plan = plan
        self.out = out.absolute()
        self.folder = self.out.parent / f".{self.out.name}.partial"
        self.kept = 0
        """Pictures that were written before."""
        self._progress = self.folder / _PROGRESS
        self._overwrite = overwrite
        self._layout = Layout.of(plan, file_bytes)
        self._files: list[ShardFile] = []
        self._is_finished = False
        self._lock = -1

    def __enter__(self) -> Self:
        """Look at what is there, and keep what an earlier run of the same plan finished.

        Raises:
            InputError: `out` is something else, or holds other shards and may not be overwritten, or another process
                is writing it.
        """
        self._is_finished = self._look_at_out()
        if self._is_finished:
            self.kept = self.plan.pictures
            return self
        self._progress.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self._progress / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock)
            raise InputError(f"another process is writing {self.out} right now") from error
        if _read(self._progress / _PLAN) != self._identity():
            self._forget()
            _put(self._progress / _PLAN, self._identity())
        self._sweep()
        self._files = list(self._whole_files())
        self.kept = sum(file.rows for file in self._files)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def fill(
        self,
        threads: int | None = None,
        on_progress: Callable[[int], None] | None = None,
        engine: Engine | None = None,
    ) -> ShardsManifest:
        """Decode and write the pictures that are left, then the rows, then the manifest; give the folder its name.

        Args:
            threads: that decode; None: one a processor.
            on_progress: is told how many more pictures are written.
            engine: where the files of pictures are written; default: in this process.

        Raises:
            InputError: an image cannot be decoded (the column and row are named), or two different images have the
                same uid. What was written stays for the next run.
        """
        if self._is_finished:
            return Shards(self.out).manifest
        self._write_pictures(threads or os.cpu_count() or 1, on_progress, engine)
        rows = [self._write_rows(split) for split in self.plan.numbers]
        plan = self.plan
        manifest = ShardsManifest(
            plan.data, plan.fingerprint, plan.squares, (*self._files, *rows), _made_with()
        )
        _put(self.folder / MANIFEST, manifest.text())
        self._put_in_place()
        return manifest

    def _write_pictures(
        self, threads: int, on_progress: Callable[[int], None] | None, engine: Engine | None
    ) -> None:
        done = 0
        numbers = np.concatenate([pair.ravel() for pair in self.plan.numbers.values()])
        digests = np.zeros((self.plan.pictures, DIGEST_BYTES), np.uint8)
        for file in self._files:
            digests[done : done + file.rows] = _digests(self.folder / file.path)
            done += file.rows
        left = range(len(self._files), self._layout.files)
        if engine is not None:
            coming = engine(self._layout, self.folder, left)
        else:
            coming = (
                write_pictures(self._layout, number, self.folder, threads, on_progress) for number in left
            )
        with closing(coming):
            for written in coming:
                digests[done : done + written.file.rows] = written.digests
                done += written.file.rows
                self._compare(written, numbers, digests)
                # Only what was compared counts as finished.
                self._note(written.file)
                self._files.append(written.file)
                if engine is not None and on_progress is not None:
                    on_progress(written.file.rows)

    def _compare(self, written: WrittenFile, numbers: NDArray[np.int32], digests: NDArray[np.uint8]) -> None:
        """Raise `InputError` if an image that stands again in the dataset is another than the first time.

        `numbers` int32 (places,) are the pictures at all places, `digests` uint8 (pictures, 16) what they are.
        """
        differs = (digests[numbers[written.repeats]] != written.repeat_digests).any(axis=1)
        if differs.any():
            place = int(written.repeats[np.argmax(differs)])
            first = int(self.plan.first[numbers[place]])
            raise InputError(
                f"{self.plan.where(place)}: the uid {self.plan.uid(place)} is that of another image before, in "
                f"{self.plan.within(first)}"
            )

    def _write_rows(self, split: str) -> ShardFile:
        present = column_names(self.plan.data)
        names = [name for name in ROW_SCHEMA.names if name in present]
        schema = pa.schema([ROW_SCHEMA.field(name) for name in (*names, *NUMBERS)])
        numbers = self.plan.numbers[split]
        path = f"rows-{split}.arrow"
        row = 0
        with pa.OSFile(str(self.folder / path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            for batch in batches(self.plan.data, names, split, _TABLE_ROWS):
                here = numbers[row : row + batch.num_rows]
                row += batch.num_rows
                columns = [*batch.columns, *(pa.array(here[:, side]) for side in (0, 1))]
                writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
        file = on_the_disk(self.folder, path, split, row)
        self._note(file)
        return file

    def _note(self, file: ShardFile) -> None:
        """Describe a file beside it: what is described is whole, and is not written again."""
        _put(self._progress / f"{file.path}.json", json.dumps(asdict(file)))

    def _whole_files(self) -> Iterator[ShardFile]:
        number = 0
        while text := _read(self._progress / f"pictures-{number:05d}.arrow.json"):
            file = ShardFile(**json.loads(text))
            path = self.folder / file.path
            if not path.is_file() or path.stat().st_size != file.bytes:
                return
            yield file
            number += 1

    def _look_at_out(self) -> bool:
        """Tell whether `out` holds these shards already."""
        if not self.out.exists() or (self.out.is_dir() and not any(self.out.iterdir())):
            return False
        if not (self.out / MANIFEST).is_file():
            raise InputError(
                f"{self.out} is there and is no folder of shards ({MANIFEST}): it is left as it is"
            )
        if self._overwrite:
            return False
        if self.plan.matches(Shards(self.out).manifest):
            return True
        raise InputError(
            f"{self.out} holds shards of another dataset, model size or choice of splits; choose another name, or say "
            "--overwrite"
        )

    def _forget(self) -> None:
        """Remove what another plan left, but not the lock."""
        for path in (*self.folder.iterdir(), *self._progress.iterdir()):
            if path.is_file() and path.name != _LOCK:
                path.unlink()

    def _sweep(self) -> None:
        """Remove what was not written to its end."""
        for path in self.folder.glob(f".pictures-*{PARTIAL}"):
            path.unlink(missing_ok=True)

    def _put_in_place(self) -> None:
        self._sweep()
        aside = self.folder.with_suffix(".old")
        if self.out.exists():
            os.rename(self.out, aside)
        os.rename(self.folder, self.out)
        shutil.rmtree(self.out / _PROGRESS, ignore_errors=True)
        shutil.rmtree(aside, ignore_errors=True)

    def _identity(self) -> str:
        content = {
            "dataset": self.plan.fingerprint,
            "squares": asdict(self.plan.squares),
            "splits": {split: len(numbers) for split, numbers in self.plan.numbers.items()},
            "pictures": self.plan.pictures,
            "pictures_a_file": self._layout.file_pictures,
            "made_with": dict(_made_with()),
        }
        return json.dumps(content, indent=1)


def _digests(path: Path) -> NDArray[np.uint8]:
    with pa.memory_map(str(path)) as file:
        column = pa.ipc.open_file(file).read_all()["digest"]
        return np.frombuffer(b"".join(cast(list[bytes], column.to_pylist())), np.uint8).reshape(
            -1, DIGEST_BYTES
        )


def _made_with() -> tuple[tuple[str, str], ...]:
    """Return the versions of what squares are made with: the decoders are exact, and this says which they were."""
    found: list[tuple[str, str]] = []
    for name in ("pickapic", "pillow", "simplejpeg", "hf-processors-rs"):
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            continue
    return tuple(found)


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def _put(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
