"""Waking workers that wait for something to make, whichever process or command queues it.

One task looks into the queue a few times a second, and only while a worker waits here; so a worker without work costs
one request every half a minute, and a job starts at once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

import structlog
from sqlalchemy.exc import SQLAlchemyError

from pickapic.collect.duels import handover
from pickapic.collect.duels.handover import Report
from pickapic.web.service import Service, now

SECONDS_BETWEEN_LOOKS = 0.04
SECONDS_AFTER_ERROR = 1.0
LONGEST_SWEEP = 15.0
# How often it is looked whether a worker that waits is still there, and its token good.
SECONDS_BETWEEN_CHECKS = 0.5


class Arrivals:
    """Workers that wait here, by name: of two calls of one worker the first is over, its answer was lost."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._waiting: dict[str, tuple[Report, asyncio.Future[bool]]] = {}
        self._somebody = asyncio.Event()
        self._next_sweep = 0.0

    async def wait(
        self, name: str, report: Report, seconds: float, is_there: Callable[[], Awaitable[bool]]
    ) -> bool:
        """Return whether there may be a job for the rooms of `report`.

        False: not within `seconds`; or nobody waits for the answer any more, as `is_there` says or a later call of the
        same worker shows; or the server goes down.
        """
        self.supersede(name)
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        entry = (replace(report, results=()), future)
        self._waiting[name] = entry
        self._somebody.set()
        end = time.monotonic() + seconds
        try:
            while (left := end - time.monotonic()) > 0 and not self._service.changes.closed:
                await asyncio.wait([future], timeout=min(left, SECONDS_BETWEEN_CHECKS))
                if not await is_there():
                    return False
                if future.done():
                    return future.result()
            return False
        finally:
            if self._waiting.get(name) is entry:
                del self._waiting[name]

    def supersede(self, name: str) -> None:
        """End the wait of a worker that has called again."""
        entry = self._waiting.pop(name, None)
        if entry is not None and not entry[1].done():
            entry[1].set_result(False)

    async def sweep(self) -> None:
        """Queue again what silent workers hold, if that was not done lately."""
        if time.monotonic() >= self._next_sweep:
            settings = self._service.settings
            self._next_sweep = time.monotonic() + min(LONGEST_SWEEP, settings.lease_seconds / 4)
            await self._service.database.write(handover.sweep, settings, now())

    async def run(self) -> None:
        """Look until cancelled."""
        log = structlog.get_logger("pickapic.web")
        while True:
            waiting = {name: entry for name, entry in self._waiting.items() if not entry[1].done()}
            if not waiting:
                self._somebody.clear()
                await self._somebody.wait()
                continue
            start = time.monotonic()
            try:
                await self.sweep()
                due: dict[tuple[handover.Room, ...], bool] = {}
                for report, future in waiting.values():
                    if report.rooms not in due:
                        due[report.rooms] = await self._service.database.read(handover.is_due, report, now())
                    if due[report.rooms] and not future.done():
                        future.set_result(True)
            except (SQLAlchemyError, OSError) as error:
                log.warning("cannot look for jobs", error=str(error))
                await asyncio.sleep(SECONDS_AFTER_ERROR)
                continue
            await asyncio.sleep(SECONDS_BETWEEN_LOOKS + 4 * (time.monotonic() - start))
