"""Image files by content: the key is the SHA-256 of the bytes, so a file never changes and never has two meanings.

A file that is listed as an orphan is not deleted at once but moved to `swept/`, where it is still found: see
`collect/upkeep/sweep.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import obstore
from obstore.exceptions import BaseError
from obstore.store import HTTPStore, LocalStore, MemoryStore, ObjectStore

from pickapic.storage.failures import StoreError, explain, names_no_bucket
from pickapic.storage.opening import SyncedFolder, open_store

__all__ = [
    "content_key",
    "delete",
    "get",
    "get_blocking",
    "open_store",
    "path_of",
    "presigned_get",
    "put",
    "swept_path_of",
]

_KEY = re.compile(r"[0-9a-f]{64}")
SWEPT = "swept"
# From this size on, asking a bucket whether it has a file costs less than sending it once more.
ASK_FIRST_BYTES = 256 * 1024
# A file that is stored again must not be old enough to be swept before its row is written.
FRESH = timedelta(hours=6)
_ERRORS = (BaseError, OSError, ValueError)


def content_key(data: bytes) -> str:
    """Return the key of `data`: its SHA-256 as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def path_of(key: str) -> str:
    """Return where in the store the file of `key` lies: two digits of folder, so that none grows huge.

    Raises:
        ValueError: `key` is not 64 hex digits, so it is no key and might be a path.
    """
    if not _KEY.fullmatch(key):
        raise ValueError(f"{key[:80]!r} is no content key")
    return f"{key[:2]}/{key}"


def swept_path_of(key: str) -> str:
    """Return where the file of `key` lies once it was found to be an orphan."""
    return f"{SWEPT}/{path_of(key)}"


async def put(store: ObjectStore, data: bytes, key: str | None = None) -> str:
    """Store `data` and return its key, if it is not known already; readers see all of it or nothing.

    When it returns, the file is there and young: what sweeps orphans spares it until its row is written. A file that is
    there already is not written again where asking is cheap, in a folder or if it is large.

    Raises:
        StoreError: it could not be stored.
    """
    key = content_key(data) if key is None else key
    path = path_of(key)
    try:
        asks = isinstance(store, LocalStore) or len(data) >= ASK_FIRST_BYTES
        if not (asks and await _is_fresh(store, path, len(data))):
            await obstore.put_async(store, path, data)
        if isinstance(store, SyncedFolder):
            await asyncio.to_thread(_sync, store, path)
    except _ERRORS as error:
        raise explain(error, "write") from error
    return key


async def _is_fresh(store: ObjectStore, path: str, size: int) -> bool:
    try:
        found = await obstore.head_async(store, path)
    except FileNotFoundError:
        return False
    return found["size"] == size and datetime.now(UTC) - found["last_modified"] < FRESH


def _sync(store: SyncedFolder, path: str) -> None:
    """Wait until the disk has a file and its name."""
    place = Path(str(store.prefix)) / path
    for name in (place, place.parent):
        descriptor = os.open(name, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


async def get(store: ObjectStore, key: str) -> bytes:
    """Return the bytes stored under `key`; that they are the ones is checked.

    Raises:
        KeyError: nothing is stored there, or something else than what was.
        StoreError: the store does not answer, or refuses.
    """
    for path in (path_of(key), swept_path_of(key)):
        try:
            result = await obstore.get_async(store, path)
            return _checked(bytes(await result.bytes_async()), key)
        except _ERRORS as error:
            _pass_if_absent(error)
    raise KeyError(key)


def get_blocking(store: ObjectStore, key: str, check: bool = True) -> bytes:
    """Do `get` in a thread that may wait; without `check` the bytes are not compared with their key."""
    for path in (path_of(key), swept_path_of(key)):
        try:
            data = bytes(obstore.get(store, path).bytes())
            return _checked(data, key) if check else data
        except _ERRORS as error:
            _pass_if_absent(error)
    raise KeyError(key)


def _pass_if_absent(error: Exception) -> None:
    if isinstance(error, FileNotFoundError) and not names_no_bucket(error):
        return
    raise error if isinstance(error, StoreError) else explain(error, "read") from error


def _checked(data: bytes, key: str) -> bytes:
    if content_key(data) != key:
        raise KeyError(f"{key}: the stored file is damaged")
    return data


async def delete(store: ObjectStore, key: str) -> None:
    """Delete what is stored under `key`, if anything is.

    Raises:
        StoreError: the store does not answer, or refuses.
    """
    for path in (path_of(key), swept_path_of(key)):
        try:
            with contextlib.suppress(FileNotFoundError):
                await obstore.delete_async(store, path)
        except _ERRORS as error:
            raise explain(error, "delete") from error


async def presigned_get(store: ObjectStore, key: str, seconds: float) -> str | None:
    """Return an address from which anybody may fetch the file of `key` for so long; None for a folder.

    Raises:
        StoreError: the store's credentials allow no signing.
    """
    if isinstance(store, LocalStore | MemoryStore | HTTPStore):
        return None
    try:
        return await obstore.sign_async(store, "GET", path_of(key), timedelta(seconds=seconds))
    except _ERRORS as error:
        raise explain(error, "sign an address") from error
