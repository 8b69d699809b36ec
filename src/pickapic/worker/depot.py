"""Where a worker gets jobs and brings images: the database and the image store, or a server in front of them."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from random import SystemRandom
from typing import Protocol

from obstore.exceptions import BaseError
from obstore.store import ObjectStore
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from pickapic.collect import handover, jobs, workers
from pickapic.collect.database import Database
from pickapic.collect.handover import Report
from pickapic.collect.jobs import Job
from pickapic.collect.moderation import blocked
from pickapic.settings import Settings
from pickapic.storage import blobs

SECONDS_BETWEEN_LOOKS = 0.04
LONGEST_SWEEP = 15.0


class AwayError(Exception):
    """The database, the image store or the server does not answer now; the same again may succeed later."""


class Depot(Protocol):
    """What a worker needs of the world. Every call may raise AwayError, and may then be repeated."""

    @property
    def pause(self) -> float:
        """Seconds after which an idle worker asks again."""
        ...

    async def turn(self, report: Report) -> list[Job]:
        """Hand over results, and return up to `report.want` more jobs: see `collect.handover`."""
        ...

    async def heartbeat(self, ids: Collection[int]) -> set[int]:
        """Prolong the leases of jobs, and return which of them are still this worker's."""
        ...

    async def store(self, data: bytes, sha256: str) -> None:
        """Keep an image's file, whose SHA-256 is given as 64 hex digits."""
        ...

    async def fetch(self, sha256: str) -> bytes:
        """Return a file of the store. Raises KeyError if it is not there."""
        ...

    async def blocked(self) -> Sequence[int]:
        """Return the perceptual hashes of the images that must not be shown."""
        ...


class DatabaseDepot:
    """The database and the image store themselves, for a worker that reaches both; `name` is the worker's."""

    pause = SECONDS_BETWEEN_LOOKS

    def __init__(self, database: Database, store: ObjectStore, settings: Settings, name: str) -> None:
        self._database = database
        self._store = store
        self._settings = settings
        self._name = name
        self._rng = SystemRandom()
        self._next_sweep = 0.0

    async def turn(self, report: Report) -> list[Job]:
        """See `Depot`; now and then, queue again what silent workers hold."""
        try:
            await self._sweep(report)
            if not await self._database.read(handover.is_due, report, _now()):
                return []
            return await self._database.write(
                handover.hand_over, self._name, report, self._settings, _now(), self._rng
            )
        except (SQLAlchemyError, OSError) as error:
            raise AwayError(f"the database does not answer: {error}") from error

    async def _sweep(self, report: Report) -> None:
        if time.monotonic() >= self._next_sweep:
            self._next_sweep = time.monotonic() + min(LONGEST_SWEEP, self._settings.lease_seconds / 4)
            await self._database.write(_sweep, self._name, report, self._settings)

    async def heartbeat(self, ids: Collection[int]) -> set[int]:
        """See `Depot`."""
        try:
            return await self._database.write(
                jobs.heartbeat, self._name, ids, self._settings.lease_seconds, _now()
            )
        except (SQLAlchemyError, OSError) as error:
            raise AwayError(f"the database does not answer: {error}") from error

    async def store(self, data: bytes, sha256: str) -> None:
        """See `Depot`."""
        try:
            await blobs.put(self._store, data, sha256)
        except (BaseError, OSError) as error:
            raise AwayError(f"the image store does not take an image: {error}") from error

    async def fetch(self, sha256: str) -> bytes:
        """See `Depot`."""
        try:
            return await blobs.get(self._store, sha256)
        except (BaseError, OSError) as error:
            raise AwayError(f"the image store does not give an image: {error}") from error

    async def blocked(self) -> Sequence[int]:
        """See `Depot`."""
        try:
            return list(await self._database.read(blocked.hashes))
        except (SQLAlchemyError, OSError) as error:
            raise AwayError(f"the database does not answer: {error}") from error


def _sweep(connection: Connection, name: str, report: Report, settings: Settings) -> None:
    workers.note(connection, name, report.generators, None, _now())
    handover.sweep(connection, settings, _now())


def _now() -> datetime:
    return datetime.now(UTC)
