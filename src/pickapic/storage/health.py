"""Whether a store can be used: its bucket is there, its key is right, and it may write, read, list and delete."""

from __future__ import annotations

import asyncio
import secrets

import obstore
import structlog
from obstore.exceptions import BaseError
from obstore.store import ObjectStore

from pickapic.records import InputError
from pickapic.storage.failures import StoreError, explain

# Beside the images, and none stays.
PROBES = "probes/"
CONTENT = b"Pick-a-Pic stores this file to see whether it can.\n"
START_SECONDS = 5.0
_ERRORS = (BaseError, OSError, ValueError)


async def try_everything(store: ObjectStore) -> None:
    """Write, read, list and delete a small file.

    Raises:
        StoreError: what cannot be done, and why.
    """
    path = PROBES + secrets.token_hex(16)
    doing = "write"
    try:
        await obstore.put_async(store, path, CONTENT)
        doing = "read"
        await (await obstore.get_async(store, path)).bytes_async()
        doing = "list its files"
        async for _ in obstore.list(store, PROBES.rstrip("/"), chunk_size=1):
            break
        doing = "delete"
        await obstore.delete_async(store, path)
    except _ERRORS as error:
        raise explain(error, doing) from error


async def trouble(store: ObjectStore, seconds: float | None = None) -> StoreError | None:
    """Return what keeps `store` from being used, None if nothing does; no answer within `seconds` is trouble too."""
    try:
        async with asyncio.timeout(seconds):
            await try_everything(store)
    except StoreError as error:
        return error
    except TimeoutError:
        return StoreError("answer", "away", f"within {seconds:g} s")
    return None


async def check_at_start(store: ObjectStore) -> None:
    """Refuse to begin with a store that somebody has to mend first; one that is away now may come back.

    Raises:
        InputError: there is no such bucket, or the key is wrong or may not do what is needed.
    """
    found = await trouble(store, START_SECONDS)
    if found is None:
        return
    if found.lasting:
        raise InputError(f"{found}. Nothing was changed; see images_url in: pickapic settings --check")
    structlog.get_logger("pickapic.storage").warning("the image store does not answer yet", error=str(found))
