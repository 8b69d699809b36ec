"""What a run that was stopped had finished of a dataset folder, so that the next one writes only the rest."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from pickapic.dataset.manifest import file_sha256
from pickapic.records import InputError

FOLDER = ".progress"
_PLAN = "plan.json"
_LOCK = "lock"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is written, from what and how: runs of the same plan write the same bytes, so one can go on with another's.

    `steps` name everything that the bytes depend on; the versions of the writer belong to it by themselves.
    """

    kind: str
    steps: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, kind: str, **steps: object) -> Plan:
        """Make the plan of a `kind` of work from what it depends on."""
        return cls(kind, tuple((name, str(value)) for name, value in sorted(steps.items())))

    def text(self, layout: Mapping[str, object]) -> str:
        """Return the plan with the layout of files as JSON."""
        versions = {name: version(name) for name in ("polars", "pyarrow")}
        content = {"kind": self.kind, **dict(self.steps), "layout": dict(layout), "versions": versions}
        return json.dumps(content, indent=1, sort_keys=True)


@dataclass(frozen=True, slots=True)
class Finished:
    """A file that is whole and on the disk: number `number` of its split, with its first row's number in the split."""

    split: str
    number: int
    first: int
    rows: int
    bytes: int
    memory: int
    sha256: str

    @property
    def name(self) -> str:
        """The file's name until the split's number of files is known."""
        return f"{self.split}-{self.number:05d}.finished"


class Journal:
    """The finished files of an unfinished folder, each described beside it as soon as it is whole.

    Open with `begin`, which takes a lock, and end with `release`.
    """

    def __init__(self, folder: Path, plan: str) -> None:
        self.folder = folder
        self.plan = plan
        self._notes = folder / FOLDER
        self._lock = -1

    @property
    def mark(self) -> str:
        """Sixteen hex digits of the plan: they stay in the manifest of what was written by it."""
        return hashlib.sha256(self.plan.encode()).hexdigest()[:16]

    def begin(self) -> dict[str, list[Finished]]:
        """Make the folder, or take up what a run of the same plan left in it: its finished files by split.

        Raises:
            InputError: another process is writing it.
        """
        self._notes.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self._notes / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.release()
            raise InputError(f"another process is writing {self.folder} right now") from error
        try:
            return self._look()
        except BaseException:
            self.release()
            raise

    def add(self, path: Path, split: str, number: int, first: int, rows: int, memory: int) -> Finished:
        """Describe the file at `path`, once its bytes are on the disk, and give it its name."""
        with path.open("rb") as file:
            os.fsync(file.fileno())
        found = Finished(split, number, first, rows, path.stat().st_size, memory, file_sha256(path))
        path.rename(self._path(found))
        _put(self._note(split, number), json.dumps(asdict(found)))
        return found

    def close(self, out: Path) -> None:
        """Remove the notes from the folder, which is called `out` by now."""
        shutil.rmtree(out / FOLDER, ignore_errors=True)

    def release(self) -> None:
        """Let another process have the folder."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _look(self) -> dict[str, list[Finished]]:
        """Keep what is whole and of this plan; remove the rest."""
        if _read(self._notes / _PLAN) != self.plan:
            self._forget()
            _put(self._notes / _PLAN, self.plan)
        (self.folder / "data").mkdir(exist_ok=True)
        found = self._whole()
        kept = {self._path(file) for files in found.values() for file in files}
        for path in (self.folder / "data").iterdir():
            if path not in kept:
                path.unlink()
        return found

    def _whole(self) -> dict[str, list[Finished]]:
        """Return the files of each split up to the first that is missing or not as it was."""
        notes = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(self._notes.glob("*.file"))]
        found: dict[str, list[Finished]] = {}
        for note in sorted((Finished(**note) for note in notes), key=lambda file: (file.split, file.number)):
            files = found.setdefault(note.split, [])
            if note.number == len(files) and self._is_there(note):
                files.append(note)
        return found

    def _is_there(self, file: Finished) -> bool:
        path = self._path(file)
        if not path.exists():
            # Stopped while the files were given their last names.
            for named in (self.folder / "data").glob(f"{file.split}-{file.number:05d}-of-*.parquet"):
                named.rename(path)
        return path.is_file() and path.stat().st_size == file.bytes

    def _path(self, file: Finished) -> Path:
        return self.folder / "data" / file.name

    def _note(self, split: str, number: int) -> Path:
        return self._notes / f"{split}-{number:05d}.file"

    def _forget(self) -> None:
        """Remove what another plan left, but not the lock."""
        for path in self.folder.iterdir():
            if path.is_dir() and path != self._notes:
                shutil.rmtree(path)
            elif path.is_file():
                path.unlink()
        for path in self._notes.iterdir():
            if path.name != _LOCK:
                path.unlink()


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def _put(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
