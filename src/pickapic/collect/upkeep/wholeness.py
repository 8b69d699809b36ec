"""Whether a collection is whole: its tables are those of this program, and every image that a row names is stored."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from obstore.store import ObjectStore

from pickapic.collect import schema
from pickapic.collect.database import Database
from pickapic.collect.upkeep.sweep import DIGITS, named
from pickapic.storage import blobs
from pickapic.storage.orphans import files

AT_ONCE = 16
KEYS_NAMED = 100

Advance = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Wholeness:
    """What was found: the database's revision, how many files rows name, and which are not there, or damaged.

    `missing` and `damaged` count, `missing_keys` and `damaged_keys` name the first hundred. `read`: whether the files
    were read and compared with their SHA-256; otherwise `damaged` says nothing.
    """

    revision: str | None
    newest: str
    named: int
    missing: int
    missing_keys: tuple[str, ...]
    damaged: int
    damaged_keys: tuple[str, ...]
    read: bool

    @property
    def whole(self) -> bool:
        """Whether nothing is wrong."""
        return self.revision == self.newest and not self.missing and not self.damaged


async def check(
    database: Database, store: ObjectStore, read: bool = False, advance: Advance = lambda count: None
) -> Wholeness:
    """Compare the rows with the store; `advance` is told of each sixteenth that is done.

    Raises:
        StoreError: the store does not answer, or refuses.
    """
    count = 0
    missing: list[str] = []
    damaged: list[str] = []
    for digit in DIGITS:
        wanted = sorted(await database.read(named, digit))
        count += len(wanted)
        present: set[str] = set()
        for second in DIGITS:
            for swept in (False, True):
                present |= {file.key async for file in files(store, digit + second, swept)}
        missing += [key for key in wanted if key not in present]
        if read:
            damaged += await _damaged(store, [key for key in wanted if key in present])
        advance(1)
    return Wholeness(
        revision=await database.read(schema.revision),
        newest=schema.newest(),
        named=count,
        missing=len(missing),
        missing_keys=tuple(missing[:KEYS_NAMED]),
        damaged=len(damaged),
        damaged_keys=tuple(damaged[:KEYS_NAMED]),
        read=read,
    )


async def _damaged(store: ObjectStore, keys: list[str]) -> list[str]:
    limit = asyncio.Semaphore(AT_ONCE)

    async def is_damaged(key: str) -> bool:
        async with limit:
            try:
                await blobs.get(store, key)
            except KeyError:
                return True
            return False

    found = await asyncio.gather(*map(is_damaged, keys))
    return [key for key, wrong in zip(keys, found, strict=True) if wrong]
