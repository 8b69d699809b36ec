"""Exports that an admin starts from a page: one at a time, in a process of its own, into HOME/exports.

The process holds a lock on that folder while it lives, so one export runs at a time whatever number of servers
share the folder; a killed one gives it back. A dataset appears under its name whole or not at all
(dataset/write.py); what a killed export left beside it is swept away by the next.
"""

from __future__ import annotations

import fcntl
import io
import multiprocessing
import re
import shutil
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from pickapic.collect.export import count_picks, export, rules_from
from pickapic.collect.refusals import ConflictError, NotFoundError
from pickapic.dataset.manifest import MANIFEST, load
from pickapic.records import InputError
from pickapic.settings import Settings, secret_key

LOCK = ".lock"
CHUNK = 1 << 20
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True, slots=True)
class Task:
    """An export under way or over: rows done of `total`; `error` says why it failed; `ended` when it is over."""

    name: str
    started: datetime
    done: int = 0
    total: int = 0
    ended: datetime | None = None
    error: str | None = None

    @property
    def share(self) -> float:
        """What is done, in 0..1."""
        return min(1.0, self.done / self.total) if self.total else 0.0


@dataclass(frozen=True, slots=True)
class Dataset:
    """A finished export: its name, its rows, its bytes, and when it was written."""

    name: str
    rows: int
    size: int
    written: datetime


class Exporting:
    """Starts exports and knows how far the last one is."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.folder = settings.home / "exports"
        self._task: Task | None = None
        self._process: Any = None
        self._guard = threading.Lock()

    @property
    def task(self) -> Task | None:
        """The export that this server started last, or None."""
        return self._task

    @property
    def running(self) -> bool:
        """Whether one is under way."""
        return self._task is not None and self._task.ended is None

    def start(self, name: str, full: bool) -> None:
        """Begin to write or update the dataset `name`; `full` writes all of it anew.

        Raises:
            InputError: the name cannot be a folder's.
            ConflictError: another export is under way.
        """
        if not _NAME.fullmatch(name):
            raise InputError(
                "A name has letters, digits, dots, dashes and underscores; it begins with one of the first two."
            )
        with self._guard:
            if self.running:
                raise ConflictError("Another export is under way; wait for it, or stop it.")
            self._task = task = Task(name, datetime.now(UTC))
        self.folder.mkdir(parents=True, exist_ok=True)
        # Forked, it would inherit the server's sockets and threads' locks.
        context = multiprocessing.get_context("spawn")
        reader, writer = context.Pipe(duplex=False)
        self._process = context.Process(
            target=run,
            args=(writer, self._settings, str(self.folder / name), full),
            name=f"export {name}",
            daemon=True,
        )
        self._process.start()
        writer.close()
        threading.Thread(target=self._follow, args=(reader, task), name="export", daemon=True).start()

    def stop(self) -> None:
        """End the export that is under way, if there is one; nothing of it stays."""
        process = self._process
        if self.running and process is not None and process.is_alive():
            process.terminate()
            process.join()
            sweep(self.folder)

    def datasets(self) -> list[Dataset]:
        """Return the finished exports, the latest first."""
        found: list[Dataset] = []
        for path in self.folder.glob(f"*/{MANIFEST}"):
            if not path.parent.name.startswith("."):
                files = [file for file in path.parent.rglob("*") if file.is_file()]
                found.append(
                    Dataset(
                        name=path.parent.name,
                        rows=load(path.parent).rows(),
                        size=sum(file.stat().st_size for file in files),
                        written=datetime.fromtimestamp(path.stat().st_mtime, UTC),
                    )
                )
        return sorted(found, key=lambda dataset: dataset.written, reverse=True)

    def zipped(self, name: str) -> Iterator[bytes]:
        """Return a finished export as a zip file, piece by piece: it may be larger than the memory.

        Raises:
            NotFoundError: there is no such export.
        """
        folder = self.folder / name
        if not _NAME.fullmatch(name) or not (folder / MANIFEST).is_file():
            raise NotFoundError("There is no such export.")
        return _zip(folder, name)

    def _follow(self, reader: Connection, task: Task) -> None:
        """Read what the process says until it is over."""
        error: str | None = "It was stopped."
        try:
            while True:
                kind, value = reader.recv()
                if kind == "total":
                    task = replace(task, total=value)
                elif kind == "done":
                    task = replace(task, done=task.done + value)
                else:
                    error = value
                self._task = task
        except EOFError:
            self._task = replace(task, ended=datetime.now(UTC), error=error)


def run(writer: Connection, settings: Settings, out: str, full: bool) -> None:
    """Export to `out`; the body of the process. Says ("total", n), ("done", n) ..., ("end", error or None)."""
    folder = Path(out).parent
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            writer.send(("end", "Another export is under way."))
            return
        sweep(folder)
        try:
            rules = rules_from(settings)
            writer.send(("total", count_picks(settings.database_url, rules=rules)))
            export(
                settings.database_url,
                settings.images_url,
                out,
                secret=secret_key(settings),
                rules=rules,
                full=full,
                on_progress=lambda count: writer.send(("done", count)),
            )
            writer.send(("end", None))
        except Exception as error:  # whatever it is, an admin reads it on the page
            writer.send(
                ("end", str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}")
            )


def sweep(folder: Path) -> None:
    """Remove what a killed export left half done."""
    for path in folder.glob(".*.partial"):
        shutil.rmtree(path, ignore_errors=True)


class _Pieces(io.RawIOBase):
    """A file that is only written to, and forgets what was taken from it."""

    def __init__(self) -> None:
        self._waiting: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._waiting.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        taken, self._waiting = b"".join(self._waiting), []
        return taken


def _zip(folder: Path, name: str) -> Iterator[bytes]:
    pieces = _Pieces()
    # Stored as they are: images and Parquet are compressed already.
    with zipfile.ZipFile(pieces, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(folder.rglob("*")):
            if not path.is_file():
                continue
            entry = zipfile.ZipInfo.from_file(path, f"{name}/{path.relative_to(folder).as_posix()}")
            with path.open("rb") as file, archive.open(entry, "w", force_zip64=True) as out:
                while chunk := file.read(CHUNK):
                    out.write(chunk)
                    yield pieces.take()
    yield pieces.take()
