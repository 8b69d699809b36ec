"""A worker: leases jobs, makes the images, stores them, and records them.

An image's file is stored before its row is written, and row and job are written in one transaction; so a
worker may be killed at any moment, and all that happens is that the job is leased again later.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from random import SystemRandom

import structlog
from obstore.exceptions import BaseError
from obstore.store import ObjectStore
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from pickapic.collect import images, jobs, losses
from pickapic.collect.database import Database
from pickapic.collect.making import Size, Workbench
from pickapic.collect.moderation import blocked
from pickapic.collect.moderation.images import BLOCKED_SECONDS, open_inspector
from pickapic.settings import Settings
from pickapic.storage import blobs

SECONDS_BETWEEN_LOOKS = 0.04
SECONDS_AFTER_ERROR = 1.0
# A lease takes as many jobs as are made in about this time, so that a slow model holds back nobody's first
# images.
SECONDS_OF_WORK = 0.15
SECONDS_OF_QUICK_WORK = 0.05


@dataclass(frozen=True, slots=True)
class Made:
    """What became of a leased job: an image and its JPEG bytes, or an error; neither if there was no time for it."""

    job: jobs.Job
    image: images.Finished | None = None
    data: bytes = b""
    error: str | None = None


class Worker:
    """Makes images until it is told to stop. Generators are called from one thread.

    Raises InputError where the image classifier of the settings cannot be loaded.
    """

    def __init__(self, settings: Settings, database: Database, store: ObjectStore) -> None:
        self.name = f"{socket.gethostname()[:32]}-{os.getpid()}-{secrets.token_hex(4)}"
        self._settings = settings
        self._database = database
        self._store = store
        self._inspector = open_inspector(settings)
        self._bench = Workbench(settings, self._inspector)
        self._rng = SystemRandom()
        self._stopping = threading.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="generator")
        self._seconds_per_job = SECONDS_OF_WORK / 2
        self._next_sweep = 0.0
        self._next_look = 0.0
        self._log = structlog.get_logger("pickapic.worker").bind(worker=self.name)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; what was leased and not yet made is given back."""
        watch = asyncio.create_task(self._watch(stop))
        leased: list[jobs.Job] = []
        made: list[Made] = []
        try:
            while leased or made or not stop.is_set():
                making = asyncio.create_task(self._make(leased)) if leased else None
                # While a quick model draws, the database is asked for what comes next; with a slow one a job
                # leased ahead would lie here while another worker is free.
                ahead = making is None or self._seconds_per_job < SECONDS_OF_QUICK_WORK
                try:
                    leased = await self._turn(made, ahead and not stop.is_set(), making is None)
                    made = []
                except (SQLAlchemyError, OSError) as error:
                    # What was made is recorded later; if its lease is lost by then, so is it.
                    self._log.warning("the database does not answer", error=str(error))
                    leased = []
                    await _sleep(stop, SECONDS_AFTER_ERROR)
                    if stop.is_set():
                        made = []
                if making is not None:
                    made = [*made, *await making]
        finally:
            watch.cancel()
            self._stopping.set()
            self._thread.shutdown(wait=True)

    async def work_once(self) -> int:
        """Make what one lease gives, and record it; return how many jobs that were."""
        made = await self._make(await self._turn([], lease=True, idle=True))
        await self._database.write(self._record_and_lease, made, 0)
        return len(made)

    async def _watch(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._stopping.set()

    async def _turn(self, made: Sequence[Made], lease: bool, idle: bool) -> list[jobs.Job]:
        """Record what was made and lease the next jobs, in one transaction; `idle`: nothing else is going on."""
        await self._sweep()
        if not made and not (lease and await self._database.read(jobs.is_waiting, _now())):
            if idle:
                await asyncio.sleep(SECONDS_BETWEEN_LOOKS)
            return []
        count = max(1, min(self._settings.worker_batch, round(SECONDS_OF_WORK / self._seconds_per_job)))
        return await self._database.write(self._record_and_lease, made, count if lease else 0)

    async def _sweep(self) -> None:
        """Now and then, queue again what silent workers hold, and read which images are blocked."""
        if time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + BLOCKED_SECONDS
            self._inspector.block(await self._database.read(blocked.hashes))
        if time.monotonic() < self._next_sweep:
            return
        self._next_sweep = time.monotonic() + self._settings.lease_seconds / 4
        await self._database.write(_take_back, self._settings.max_attempts)

    def _record_and_lease(self, connection: Connection, made: Sequence[Made], count: int) -> list[jobs.Job]:
        now = _now()
        misfits = images.misfits(connection, [one.image for one in made if one.image is not None])
        good = {one.job.id: one for one in made if one.image is not None and one.job.id not in misfits}
        mine = jobs.finish(connection, self.name, list(good), self._seconds_per_job, now)
        recorded = [one.image for one in good.values() if one.image is not None and one.job.id in mine]
        images.record(connection, recorded, now)
        flagged = [good[image.job_id].job for image in recorded if image.flag]
        losses.replace(connection, flagged, self._settings.generators, now, self._rng)
        died: list[int] = []
        for one in made:
            if one.error is not None:
                attempts = self._settings.max_attempts
                state = jobs.fail(connection, self.name, one.job, one.error, attempts, now)
                died += [one.job.duel_id] if state == jobs.DEAD else []
        losses.fail_if_stuck(connection, died, now)
        unmade = [one.job.id for one in made if one.image is None and one.error is None]
        jobs.release(connection, self.name, [*unmade, *misfits])
        if not count:
            return []
        return jobs.lease(connection, self.name, count, self._settings.lease_seconds, now)

    async def _make(self, leased: Sequence[jobs.Job]) -> list[Made]:
        if not leased:
            return []
        heart = asyncio.create_task(self._beat([job.id for job in leased]))
        start = time.perf_counter()
        try:
            loop = asyncio.get_running_loop()
            sources = await self._sources(leased)
            made = await loop.run_in_executor(self._thread, self._generate, leased, sources)
            made = await asyncio.gather(*(self._store_file(one) for one in made))
        finally:
            heart.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await heart
        each = (time.perf_counter() - start) / len(leased)
        self._seconds_per_job += 0.3 * (each - self._seconds_per_job)
        return list(made)

    async def _sources(self, leased: Sequence[jobs.Job]) -> dict[int, bytes]:
        """Fetch the files that spoiled copies and images of a list are made from; what is missing is left out."""
        found: dict[int, bytes] = {}
        for job in leased:
            if job.source_sha256 is not None:
                try:
                    found[job.id] = await blobs.get(self._store, job.source_sha256)
                except (KeyError, BaseError, OSError) as error:
                    self._log.warning("a stored image cannot be read", job=job.id, error=str(error))
        return found

    async def _beat(self, ids: Sequence[int]) -> None:
        """Prolong the lease until cancelled."""
        while True:
            await asyncio.sleep(self._settings.lease_seconds / 3)
            try:
                seconds = self._settings.lease_seconds
                await self._database.write(jobs.heartbeat, self.name, ids, seconds, _now())
            except (SQLAlchemyError, OSError) as error:
                self._log.warning("the lease could not be prolonged", error=str(error))

    async def _store_file(self, one: Made) -> Made:
        if one.image is None:
            return one
        try:
            await blobs.put(self._store, one.data, one.image.sha256)
        except (BaseError, OSError) as error:
            self._log.warning("an image could not be stored", job=one.job.id, error=str(error))
            return Made(one.job, error=f"the image could not be stored: {error}")
        return one

    def _generate(self, leased: Sequence[jobs.Job], sources: Mapping[int, bytes]) -> list[Made]:
        made: list[Made] = []
        sizes: dict[int, Size] = {}
        for job in leased:
            if self._stopping.is_set():
                made.append(Made(job))
                continue
            # Until its size is stored, a duel has that of the first image made for it here.
            size = self._bench.size_for(job) or sizes.get(job.duel_id)
            made.append(self._generate_one(job, size, sources.get(job.id)))
            image = made[-1].image
            if image is not None:
                sizes.setdefault(job.duel_id, (image.width, image.height))
        return made

    def _generate_one(self, job: jobs.Job, size: Size | None = None, source: bytes | None = None) -> Made:
        try:
            picture = self._bench.make(job, size, source)
        except Exception as error:  # a generator may raise anything; the job says what, the worker goes on
            name = job.order.generator or job.order.kind
            self._log.warning("a generator failed", generator=name, job=job.id, exc_info=error)
            return Made(job, error=f"{type(error).__name__}: {error}")
        return Made(job, picture.image, picture.data)


def _take_back(connection: Connection, max_attempts: int) -> None:
    losses.fail_if_stuck(connection, jobs.requeue_expired(connection, max_attempts, _now()), _now())


async def _sleep(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)


def _now() -> datetime:
    return datetime.now(UTC)
