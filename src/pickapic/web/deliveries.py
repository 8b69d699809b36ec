"""Which images were sent to the person they belong to: without that a pick does not count.

What this process sent it knows at once. The rows are written a few times a second, all in one statement, so
that sending an image costs the database nothing; other processes, and this one after a restart, read them.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from datetime import UTC, datetime

import structlog
from sqlalchemy.exc import SQLAlchemyError

from pickapic.collect.database import Database
from pickapic.collect.duels import images

SECONDS_BETWEEN_WRITES = 0.08
TOKENS_KEPT = 100_000
# A row that somebody holds is left for the next time; one that was marked long ago is no news either.
TRIES = 3


class Deliveries:
    """Tokens of sent images: `in` tells whether this process sent one lately."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sent: OrderedDict[str, None] = OrderedDict()
        self._unwritten: dict[str, int] = {}
        self._something = asyncio.Event()
        self._log = structlog.get_logger("pickapic.web")

    def __contains__(self, token: object) -> bool:
        return token in self._sent

    def add(self, token: str) -> None:
        """Note that an image is being sent to its user."""
        if token in self._sent:
            return
        self._sent[token] = None
        self._unwritten[token] = 0
        self._something.set()
        if len(self._sent) > TOKENS_KEPT:
            self._sent.popitem(last=False)

    async def run(self) -> None:
        """Write what was sent until cancelled, then the rest."""
        try:
            while True:
                await self._something.wait()
                await asyncio.sleep(SECONDS_BETWEEN_WRITES)
                await self.write()
        finally:
            await self.write()

    async def write(self) -> None:
        """Store what was sent since the last time; what the database does not take now is kept for the next."""
        self._something.clear()
        tried, self._unwritten = self._unwritten, {}
        if not tried:
            return
        try:
            news = await self._database.write(images.mark_fetched, tried, datetime.now(UTC))
        except (SQLAlchemyError, OSError) as error:
            self._log.warning("what was sent could not be stored", error=str(error))
            news = set[str]()
        again = {
            token: tries + 1 for token, tries in tried.items() if token not in news and tries + 1 < TRIES
        }
        if again:
            self._unwritten = {**again, **self._unwritten}
            self._something.set()
