"""Looking through a store, and moving files aside: what the sweep of orphans is made of."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Generator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore

from pickapic.storage.blobs import SWEPT, path_of, swept_path_of
from pickapic.storage.failures import explain, names_no_bucket

_PLACE = re.compile(rf"(?:{SWEPT}/)?([0-9a-f]{{2}})/(\1[0-9a-f]{{62}})")
# What a process that was killed while it wrote leaves in a folder; listings do not show them.
_UNFINISHED = re.compile(r"[0-9a-f]{64}#[0-9]+")
_ERRORS = (BaseError, OSError, ValueError)


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of the store: its key, its bytes, and when it was written last, by the store's clock."""

    key: str
    size: int
    modified: datetime


async def files(store: ObjectStore, prefix: str, swept: bool = False) -> AsyncIterator[StoredFile]:
    """Yield the files whose keys begin with `prefix` (two hex digits); with `swept` those that were moved aside.

    Raises:
        StoreError: the store does not answer, or refuses.
    """
    folder = f"{SWEPT}/{prefix}" if swept else prefix
    with _explained("list its files"):
        async for part in obstore.list(store, folder):
            for found in part:
                place = _PLACE.fullmatch(found["path"])
                if place is not None:
                    yield StoredFile(place[2], found["size"], found["last_modified"])


async def set_aside(store: ObjectStore, file: StoredFile) -> bool:
    """Move a file to where swept files lie, unless it was stored again since it was listed; return whether it was.

    It is written anew, so that it is young there: a copy by the store itself keeps the old time with some stores.

    Raises:
        StoreError: the store does not answer, or refuses.
    """
    path = path_of(file.key)
    with _explained("move a file"):
        try:
            data = await (await obstore.get_async(store, path)).bytes_async()
            await obstore.put_async(store, swept_path_of(file.key), data)
            modified = (await obstore.head_async(store, path))["last_modified"]
            # Asked for one file, some stores tell whole seconds only.
            if modified.replace(microsecond=0) != file.modified.replace(microsecond=0):
                return False
            await obstore.delete_async(store, path)
        except FileNotFoundError as error:
            _refuse_without_bucket(error)
            return False  # somebody else was quicker
    return True


async def put_back(store: ObjectStore, key: str) -> bool:
    """Move a swept file back to where images lie; return whether it was still there.

    Raises:
        StoreError: the store does not answer, or refuses.
    """
    with _explained("move a file"):
        try:
            data = await (await obstore.get_async(store, swept_path_of(key))).bytes_async()
        except FileNotFoundError as error:
            _refuse_without_bucket(error)
            return False
        await obstore.put_async(store, path_of(key), data)
        await drop_swept(store, key)
    return True


async def drop_swept(store: ObjectStore, key: str) -> None:
    """Delete a swept file for good.

    Raises:
        StoreError: the store does not answer, or refuses.
    """
    with _explained("delete"), contextlib.suppress(FileNotFoundError):
        await obstore.delete_async(store, swept_path_of(key))


async def is_stored(store: ObjectStore, key: str, swept: bool = False) -> bool:
    """Return whether the file of `key` is where images lie; with `swept`, where swept files do.

    Raises:
        StoreError: the store does not answer, or refuses.
    """
    with _explained("read"):
        try:
            await obstore.head_async(store, swept_path_of(key) if swept else path_of(key))
        except FileNotFoundError as error:
            _refuse_without_bucket(error)
            return False
    return True


def unfinished(store: ObjectStore, prefix: str, before: datetime) -> list[Path]:
    """Return what killed processes left half-written in a folder before that time; a bucket keeps no such files."""
    if not isinstance(store, LocalStore):
        return []
    place = Path(str(store.prefix)) / prefix
    return [
        path
        for path in (place.iterdir() if place.is_dir() else ())
        if _UNFINISHED.fullmatch(path.name) and path.stat().st_mtime < before.timestamp()
    ]


@contextlib.contextmanager
def _explained(doing: str) -> Generator[None]:
    try:
        yield
    except _ERRORS as error:
        raise explain(error, doing) from error


def _refuse_without_bucket(error: FileNotFoundError) -> None:
    if names_no_bucket(error):
        raise explain(error, "read") from error
