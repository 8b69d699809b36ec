"""Where a worker gets jobs and brings images: the database and the image store, or a server in front of them."""

from __future__ import annotations

import time
from collections.abc import Collection, Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from random import SystemRandom
from typing import Protocol

import structlog
from obstore.exceptions import BaseError
from obstore.store import ObjectStore
from sqlalchemy import Connection
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError, SQLAlchemyError

from pickapic.collect.database import Database
from pickapic.collect.duels import handover
from pickapic.collect.duels.handover import ERROR, Report, Result
from pickapic.collect.oversight import blocked
from pickapic.collect.queue import jobs, workers
from pickapic.collect.queue.jobs import Job
from pickapic.records import InputError
from pickapic.settings import Settings
from pickapic.storage import blobs

SECONDS_BETWEEN_LOOKS = 0.04
LONGEST_SWEEP = 15.0
# PostgreSQL's classes of errors in what it is given: data, constraints, statements.
UNFIT_CLASSES = ("22", "23", "42")


class AwayError(Exception):
    """The database, the image store or the server does not answer now; the same again may succeed later."""


class Depot(Protocol):
    """What a worker needs of the world. Every call may raise AwayError, and may then be repeated."""

    @property
    def pause(self) -> float:
        """Seconds after which an idle worker asks again."""
        ...

    async def turn(self, report: Report) -> list[Job]:
        """Hand over results, and return up to `report.want` more jobs: see `collect.duels.handover`."""
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
        self._log = structlog.get_logger("pickapic.worker").bind(worker=name)
        self._next_sweep = 0.0

    async def turn(self, report: Report) -> list[Job]:
        """See `Depot`; now and then, queue again what silent workers hold."""
        with _answering("the database"):
            await self._sweep(report)
            if not await self._database.read(handover.is_due, report, _now()):
                return []
            try:
                return await self._hand_over(report)
            except Exception as error:
                if not report.results or not _is_unfit(error):
                    raise
                self._log.error("a result cannot be recorded; each is tried alone", exc_info=error)
                await self._hand_over_singly(report)
                return []

    async def _hand_over(self, report: Report) -> list[Job]:
        return await self._database.write(
            handover.hand_over, self._name, report, self._settings, _now(), self._rng
        )

    async def _hand_over_singly(self, report: Report) -> None:
        """Record each result by itself, so that one which does not fit costs its own job alone."""
        held = {*report.holding, *(result.job_id for result in report.results)}
        for result in report.results:
            held.discard(result.job_id)
            try:
                await self._hand_over(Report((result,), tuple(held)))
            except Exception as error:
                if not _is_unfit(error):
                    raise
                why = f"its result cannot be recorded: {type(error).__name__}"
                unfit = Result(result.job_id, result.attempt, ERROR, message=why)
                await self._hand_over(Report((unfit,), tuple(held)))

    async def _sweep(self, report: Report) -> None:
        if time.monotonic() >= self._next_sweep:
            self._next_sweep = time.monotonic() + min(LONGEST_SWEEP, self._settings.lease_seconds / 4)
            await self._database.write(_sweep, self._name, report, self._settings)

    async def heartbeat(self, ids: Collection[int]) -> set[int]:
        """See `Depot`."""
        with _answering("the database"):
            return await self._database.write(
                jobs.heartbeat, self._name, ids, self._settings.lease_seconds, _now()
            )

    async def store(self, data: bytes, sha256: str) -> None:
        """See `Depot`."""
        with _answering("the image store"):
            await blobs.put(self._store, data, sha256)

    async def fetch(self, sha256: str) -> bytes:
        """See `Depot`."""
        with _answering("the image store"):
            return await blobs.get(self._store, sha256)

    async def blocked(self) -> Sequence[int]:
        """See `Depot`."""
        with _answering("the database"):
            return list(await self._database.read(blocked.hashes))


@contextmanager
def _answering(what: str) -> Generator[None]:
    """Turn what a database or a store raises that is not there, or full, into AwayError."""
    try:
        yield
    except Exception as error:
        # A PostgreSQL server that is just starting answers with an error of the driver's own.
        is_away = isinstance(error, SQLAlchemyError | BaseError | OSError) or _is_of(error, "asyncpg")
        if _is_unfit(error) or not is_away:
            raise
        raise AwayError(f"{what}: {error}") from error


def _is_unfit(error: Exception) -> bool:
    """Return whether a database is there, and finds something wrong with what it is given."""
    if isinstance(error, IntegrityError | DataError | ProgrammingError | InputError | OverflowError):
        return True
    if not isinstance(error, DBAPIError):
        return False
    state: str = getattr(error.orig, "sqlstate", None) or ""
    cause = error.orig.__cause__ if error.orig else None
    # What asyncpg cannot even send has no state.
    return state.startswith(UNFIT_CLASSES) or (_is_of(cause, "asyncpg") and isinstance(cause, ValueError))


def _is_of(error: BaseException | None, package: str) -> bool:
    return type(error).__module__.partition(".")[0] == package


def _sweep(connection: Connection, name: str, report: Report, settings: Settings) -> None:
    workers.note(connection, name, report.generators, None, _now())
    handover.sweep(connection, settings, _now())


def _now() -> datetime:
    return datetime.now(UTC)
