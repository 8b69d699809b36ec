"""Waking clients that wait for an image, whichever process makes it.

One task asks the database a few times a second about all the duels that somebody waits for, in one query.
So it costs the same for one waiting client as for a hundred, works on SQLite and PostgreSQL, and misses
nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

import structlog
from sqlalchemy.exc import SQLAlchemyError

from pickapic.collect.database import Database
from pickapic.collect.duels.views import Standing, standings

SECONDS_BETWEEN_LOOKS = 0.04
SECONDS_AFTER_ERROR = 1.0

Until = Callable[[Standing], bool]


class Changes:
    """Clients that wait, by duel."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: dict[int, list[tuple[Until, asyncio.Future[None]]]] = {}
        self._somebody = asyncio.Event()
        self._closed = asyncio.Event()

    @property
    def closed(self) -> bool:
        """True once the server is going down: nobody should begin to wait."""
        return self._closed.is_set()

    async def wait(self, duel_id: int, until: Until, seconds: float) -> None:
        """Return once `until(standing)` holds for the duel, after `seconds`, or when the server goes down."""
        if self.closed:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (until, future)
        self._waiting.setdefault(duel_id, []).append(entry)
        self._somebody.set()
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(future, seconds)
        finally:
            entries = self._waiting.get(duel_id, [])
            if entry in entries:
                entries.remove(entry)
            if not entries:
                self._waiting.pop(duel_id, None)

    def close(self) -> None:
        """Wake everybody, for good."""
        self._closed.set()
        for entries in self._waiting.values():
            for _, future in entries:
                if not future.done():
                    future.set_result(None)

    async def run(self) -> None:
        """Look until cancelled."""
        log = structlog.get_logger("pickapic.web")
        while True:
            if not self._waiting:
                self._somebody.clear()
                await self._somebody.wait()
            start = time.monotonic()
            try:
                present = await self._database.read(standings, list(self._waiting))
            except (SQLAlchemyError, OSError) as error:
                log.warning("cannot look for finished images", error=str(error))
                await asyncio.sleep(SECONDS_AFTER_ERROR)
                continue
            for duel_id, standing in present.items():
                for until, future in self._waiting.get(duel_id, []):
                    if not future.done() and until(standing):
                        future.set_result(None)
            # Under load a look takes longer; then fewer of them leave the time to those who pick.
            await asyncio.sleep(SECONDS_BETWEEN_LOOKS + 4 * (time.monotonic() - start))
