"""Whether a store can be used: its bucket is there, its key is right, and it may read, write, list and delete."""

from __future__ import annotations

import secrets

import obstore
from obstore.exceptions import BaseError
from obstore.store import ObjectStore

from pickapic.storage.failures import StoreError, explain, names_no_bucket

# In the store for good: asking for it tells a bucket that is there from one that is not.
PROBE = "readiness-probe"
CONTENT = b"Pick-a-Pic asks for this file to see whether the store answers.\n"
_ERRORS = (BaseError, OSError, ValueError)


async def try_everything(store: ObjectStore) -> None:
    """Write, read, list and delete a small file, as a server does at its start; another small file stays.

    Raises:
        StoreError: what cannot be done, and why.
    """
    mine = f"{PROBE}-{secrets.token_hex(8)}"
    doing = "write"
    try:
        await obstore.put_async(store, PROBE, CONTENT)
        await obstore.put_async(store, mine, CONTENT)
        doing = "read"
        await (await obstore.get_async(store, mine)).bytes_async()
        doing = "list its files"
        async for _ in obstore.list(store, prefix="00", chunk_size=1):
            break
        doing = "delete"
        await obstore.delete_async(store, mine)
    except _ERRORS as error:
        raise explain(error, doing) from error


async def look(store: ObjectStore) -> None:
    """Ask for one small file, as often as somebody wants to know; it is written if it is not there.

    Raises:
        StoreError: the store does not answer, or refuses.
    """
    try:
        await (await obstore.get_async(store, PROBE)).bytes_async()
    except FileNotFoundError as error:
        if names_no_bucket(error):
            raise explain(error, "read") from error
        await try_everything(store)
    except _ERRORS as error:
        raise explain(error, "read") from error


async def trouble(store: ObjectStore) -> StoreError | None:
    """Return what `look` raises, None if all is well."""
    try:
        await look(store)
    except StoreError as error:
        return error
    return None
