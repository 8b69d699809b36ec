"""The list of a dataset folder's files, written last: where it stands, the dataset is complete."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pickapic.records import InputError

MANIFEST = "manifest.json"
FORMAT = "pickapic-dataset"
VERSION = 1


@dataclass(frozen=True, slots=True)
class Shard:
    """One Parquet file. `path` is inside the folder; `memory` is its size in bytes once read into Arrow."""

    path: str
    split: str
    rows: int
    bytes: int
    memory: int
    sha256: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """How many rows were not written, and why."""

    reason: str
    count: int


@dataclass(frozen=True, slots=True)
class About:
    """What the card says beside the numbers. `notes` become a list under "How it was made"."""

    title: str = "Preferences between generated images"
    summary: str = (
        "Each row is one judgement: a person saw two images made from the same prompt and picked the better "
        "one, or said that neither is."
    )
    licence: str = "other"
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Manifest:
    """The files of a dataset in reading order, what was left out of it, and how it was made."""

    shards: tuple[Shard, ...]
    left_out: tuple[LeftOut, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    about: About = About()

    def fact(self, name: str) -> str | None:
        """Return the fact called `name`, if there is one."""
        return dict(self.facts).get(name)

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits, in writing order."""
        return tuple(dict.fromkeys(shard.split for shard in self.shards))

    @property
    def fingerprint(self) -> str:
        """Sixteen hex digits that change when any byte of the data does."""
        lines = "\n".join(f"{shard.split} {shard.sha256}" for shard in self.shards)
        return hashlib.sha256(lines.encode()).hexdigest()[:16]

    def rows(self, split: str | None = None) -> int:
        """Return the number of rows of one split, or of all files."""
        return sum(shard.rows for shard in self.shards if split in (None, shard.split))

    def write(self, folder: Path) -> None:
        """Write the manifest into `folder` under a temporary name, then rename it."""
        content = {"format": FORMAT, "version": VERSION, "fingerprint": self.fingerprint, **asdict(self)}
        partial = folder / f".{MANIFEST}.partial"
        partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        partial.replace(folder / MANIFEST)


def load(folder: Path) -> Manifest:
    """Return the manifest of a dataset folder.

    Raises:
        InputError: there is none (the folder is not ours, or was not finished), or it cannot be read.
    """
    try:
        content: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{folder} has no {MANIFEST}: it is no dataset written by pickapic") from error
    except ValueError as error:
        raise InputError(f"{folder / MANIFEST} is not valid JSON: {error}") from error
    if content.get("format") != FORMAT or content.get("version") != VERSION:
        found = f"{content.get('format')} version {content.get('version')}"
        raise InputError(
            f"{folder / MANIFEST} is of the format {found}; this program reads {FORMAT} {VERSION}"
        )
    try:
        return Manifest(
            tuple(Shard(**shard) for shard in content["shards"]),
            tuple(LeftOut(**item) for item in content["left_out"]),
            tuple((str(name), str(value)) for name, value in content["facts"]),
            replace(About(**content["about"]), notes=tuple(content["about"]["notes"])),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{folder / MANIFEST} is damaged: {error}") from error


def damage(folder: Path, *, contents: bool = True) -> list[str]:
    """Return what is wrong with a folder's files: missing, cut short, changed, or not named by the manifest.

    Without `contents` they are not read: sizes and numbers of rows are compared, but not SHA-256.
    """
    faults: list[str] = []
    shards = load(folder).shards
    for shard in shards:
        path = folder / shard.path
        if not path.is_file():
            faults.append(f"{shard.path} is missing")
        elif path.stat().st_size != shard.bytes:
            faults.append(
                f"{shard.path} has {path.stat().st_size:,} bytes, the manifest says {shard.bytes:,}"
            )
        elif contents and file_sha256(path) != shard.sha256:
            faults.append(f"{shard.path} has changed since it was written (SHA-256 differs)")
        elif not contents and _rows(path) not in (None, shard.rows):
            faults.append(f"{shard.path} has {_rows(path):,} rows, the manifest says {shard.rows:,}")
    named = {shard.path for shard in shards}
    for path in sorted(folder.rglob("*.parquet")):
        inside = path.relative_to(folder)
        if inside.as_posix() not in named and not any(part.startswith((".", "_")) for part in inside.parts):
            faults.append(f"{inside.as_posix()} is not named by the manifest, but is read with the others")
    return faults


def _rows(path: Path) -> int | None:
    """Return the number of rows; None for a file that is not Parquet, which whoever reads it will say."""
    try:
        return pq.read_metadata(path).num_rows
    except (pa.ArrowInvalid, OSError):
        return None


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
