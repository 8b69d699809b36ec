"""Copying images from one store to another: a backup, a restore, or a move from a folder to a bucket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from obstore.store import ObjectStore

from pickapic.storage import blobs
from pickapic.storage.orphans import files

PREFIXES = tuple(f"{number:02x}" for number in range(256))
AT_ONCE = 16

Advance = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Copied:
    """How many files (and bytes) were copied, how many were there already, and which could not be read whole."""

    files: int
    bytes: int
    there: int
    damaged: tuple[str, ...]


async def copy_missing(
    source: ObjectStore, target: ObjectStore, advance: Advance = lambda count: None
) -> Copied:
    """Copy every file of `source` that `target` has not in the same size; `advance` is told of each 256th done.

    What is there already is not read, so a second backup into the same place costs what is new. A file whose content is
    not what its key says is left out, and named in the result.

    Raises:
        StoreError: one of the stores does not answer, or refuses; what was copied until then stays.
    """
    copied = size = there = 0
    damaged: list[str] = []
    limit = asyncio.Semaphore(AT_ONCE)

    async def copy(key: str) -> int | None:
        async with limit:
            try:
                data = await blobs.get(source, key)
            except KeyError:
                return None
            await blobs.put(target, data, key)
            return len(data)

    for prefix in PREFIXES:
        known = {file.key: file.size async for file in files(target, prefix)}
        wanted = [file async for file in files(source, prefix)]
        new = [file.key for file in wanted if known.get(file.key) != file.size]
        there += len(wanted) - len(new)
        for key, length in zip(new, await asyncio.gather(*map(copy, new)), strict=True):
            if length is None:
                damaged.append(key)
            else:
                copied, size = copied + 1, size + length
        advance(1)
    return Copied(copied, size, there, tuple(damaged))
