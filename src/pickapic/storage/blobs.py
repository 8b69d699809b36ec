"""Image files by content: a folder, or any bucket that obstore can open. The key is the SHA-256 of the bytes."""

from __future__ import annotations

import contextlib
import hashlib
import re
from pathlib import Path

import obstore
from obstore.store import LocalStore, ObjectStore, from_url

from pickapic.records import InputError

_URL = re.compile(r"[a-z][a-z0-9+.-]+://")
_KEY = re.compile(r"[0-9a-f]{64}")


def open_store(url: str) -> ObjectStore:
    """Open a folder (made if missing) or a bucket: `s3://bucket/prefix`, `gs://...`, `az://...`, `file:///...`.

    Credentials come from the provider's usual environment variables.

    Raises:
        InputError: the folder cannot be made, or the URL is of no known kind.
    """
    if url.startswith("file://"):
        url = url.removeprefix("file://")
    if not _URL.match(url):
        folder = Path(url).expanduser().absolute()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"images cannot be kept in {folder}: {error}") from error
        return LocalStore(folder)
    try:
        return from_url(url)
    except Exception as error:  # obstore raises a family of its own that shares only Exception
        raise InputError(f"images_url {url!r} cannot be opened: {error}") from error


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


async def put(store: ObjectStore, data: bytes, key: str | None = None) -> str:
    """Store `data` and return its key, if it is not known already; readers see all of it or nothing."""
    key = key or content_key(data)
    await obstore.put_async(store, path_of(key), data)
    return key


async def get(store: ObjectStore, key: str) -> bytes:
    """Return the bytes stored under `key`.

    Raises:
        KeyError: nothing is stored there.
    """
    try:
        result = await obstore.get_async(store, path_of(key))
    except FileNotFoundError as error:
        raise KeyError(key) from error
    return bytes(await result.bytes_async())


async def delete(store: ObjectStore, key: str) -> None:
    """Delete what is stored under `key`, if anything is."""
    with contextlib.suppress(FileNotFoundError):
        await obstore.delete_async(store, path_of(key))
