"""Orphans and gaps: files of the store that no row names, and rows whose file is not there.

A file is stored before its row is written, so a file without a row is either an orphan (its worker was killed, its row
was deleted) or young. Only what is older than a day is taken for an orphan, and storing a file again makes it young
(`storage/blobs.py`). One case is left: an old orphan is stored again in the moment between a sweep's last look at it
and its deletion. So nothing is deleted at once: an orphan is moved aside, to `swept/`, where whoever reads it
still finds it. A later sweep puts back what a row names by then, and deletes what none has named for another day.

Rows are read before the store is listed, to find gaps, and again after, to find orphans: what happens in between is
neither.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from obstore.store import ObjectStore
from sqlalchemy import Connection, bindparam, select, union_all

from pickapic.collect.database import Database
from pickapic.collect.tables import gold_pairs, images
from pickapic.storage import orphans
from pickapic.storage.orphans import StoredFile

T = TypeVar("T")

DIGITS = "0123456789abcdef"
OLD = timedelta(days=1)
AT_ONCE = 16
GAPS_NAMED = 100

Advance = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Found:
    """What a sweep found, and what it did about it, if it was to do anything; in files, but for `rows` and `bytes`.

    `orphans` are old files that no row names, `moved` of them set aside; `aside` lay aside before, of which `deleted`
    went for good and `restored` came back, because a row names them. `unfinished` are half-written files of killed
    processes. `gaps` are files that rows name and the store has not, `gap_keys` the first hundred of them.
    """

    files: int = 0
    bytes: int = 0
    named: int = 0
    orphans: int = 0
    orphan_bytes: int = 0
    moved: int = 0
    aside: int = 0
    restored: int = 0
    deleted: int = 0
    unfinished: int = 0
    gaps: int = 0
    gap_keys: tuple[str, ...] = ()


_from = bindparam("low")
_to = bindparam("high")
_named = union_all(
    *(
        select(column).where(column >= _from, column < _to)
        for column in (images.c.sha256, gold_pairs.c.better_sha256, gold_pairs.c.worse_sha256)
    )
)


def named(connection: Connection, digit: str) -> set[str]:
    """Return the keys that rows name and that begin with the hex digit `digit`."""
    # "g" comes after every hex digit.
    bounds = {"low": digit, "high": DIGITS[DIGITS.index(digit) + 1] if digit != "f" else "g"}
    return set(connection.execute(_named, bounds).scalars())


async def sweep(
    database: Database,
    store: ObjectStore,
    now: datetime,
    delete: bool = False,
    old: timedelta = OLD,
    advance: Advance = lambda count: None,
) -> Found:
    """Look through the whole store; with `delete`, also clear it up. `advance` is told of each 256th that is done.

    Needs memory for a sixteenth of all keys at a time. Several at once do no harm.

    Raises:
        StoreError: the store does not answer, or refuses; what was done until then is done.
    """
    tally: Counter[str] = Counter()
    gap_keys: list[str] = []
    for digit in DIGITS:
        before = await database.read(named, digit)
        present: dict[str, StoredFile] = {}
        aside: list[StoredFile] = []
        for second in DIGITS:
            prefix = digit + second
            present |= {file.key: file async for file in orphans.files(store, prefix)}
            aside += [file async for file in orphans.files(store, prefix, swept=True)]
            await _clear_unfinished(store, prefix, now - old, delete, tally)
            advance(1)
        tally["named"] += len(before)
        tally["files"] += len(present)
        tally["bytes"] += sum(file.size for file in present.values())
        after = await database.read(named, digit)
        await _clear_aside(store, aside, present, after, now - old, delete, tally)
        gaps = await _gaps(store, [key for key in before & after if key not in present])
        tally["gaps"] += len(gaps)
        gap_keys += gaps[:GAPS_NAMED]
        without_row = [file for key, file in present.items() if key not in after]
        await _clear_orphans(store, without_row, now - old, delete, tally)
    return Found(**tally, gap_keys=tuple(gap_keys[:GAPS_NAMED]))


async def _clear_unfinished(
    store: ObjectStore, prefix: str, before: datetime, delete: bool, tally: Counter[str]
) -> None:
    paths = await asyncio.to_thread(orphans.unfinished, store, prefix, before)
    tally["unfinished"] += len(paths)
    for path in paths if delete else ():
        path.unlink(missing_ok=True)


async def _clear_aside(
    store: ObjectStore,
    aside: Sequence[StoredFile],
    present: dict[str, StoredFile],
    after: set[str],
    before: datetime,
    delete: bool,
    tally: Counter[str],
) -> None:
    tally["aside"] += len(aside)
    wanted = [file for file in aside if file.key in after and file.key not in present]
    spare = [file for file in aside if file.key not in after and file.modified < before]
    spare += [file for file in aside if file.key in after and file.key in present]
    if delete:
        back = await _some_at_once(orphans.put_back(store, file.key) for file in wanted)
        tally["restored"] += sum(back)
        await _some_at_once(orphans.drop_swept(store, file.key) for file in spare)
        tally["deleted"] += len(spare)


async def _gaps(store: ObjectStore, missing: Sequence[str]) -> list[str]:
    # Asked one by one: what is only aside is found by whoever reads it, and no gap.
    there = await _some_at_once(_is_anywhere(store, key) for key in missing)
    return sorted(key for key, is_there in zip(missing, there, strict=True) if not is_there)


async def _is_anywhere(store: ObjectStore, key: str) -> bool:
    return await orphans.is_stored(store, key) or await orphans.is_stored(store, key, swept=True)


async def _clear_orphans(
    store: ObjectStore, without_row: Iterable[StoredFile], before: datetime, delete: bool, tally: Counter[str]
) -> None:
    old = [file for file in without_row if file.modified < before]
    tally["orphans"] += len(old)
    tally["orphan_bytes"] += sum(file.size for file in old)
    if delete:
        tally["moved"] += sum(await _some_at_once(orphans.set_aside(store, file) for file in old))


async def _some_at_once(works: Iterable[Awaitable[T]]) -> list[T]:
    limit = asyncio.Semaphore(AT_ONCE)

    async def run(work: Awaitable[T]) -> T:
        async with limit:
            return await work

    return await asyncio.gather(*(run(work) for work in works))
