"""A worker: leases jobs, makes the images, stores them, and hands them over.

An image's file is stored before its row is written, and row and job are written in one transaction; so a worker may
be killed at any moment, and all that happens is that the job is leased again later. While the image store or the
database does not answer, what is made is kept and brought again, and its lease is prolonged.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

import structlog
from obstore.store import ObjectStore

from pickapic.collect.database import Database
from pickapic.collect.duels.handover import ERROR, MADE, UNMADE, Report, Result, Room
from pickapic.collect.moderation.images import BLOCKED_SECONDS, open_inspector
from pickapic.collect.queue.jobs import Job
from pickapic.settings import Settings
from pickapic.worker.depot import AwayError, DatabaseDepot, Depot
from pickapic.worker.lane import Lane
from pickapic.worker.trouble import Trouble
from pickapic.worker.workbench import Made, Size, Workbench

T = TypeVar("T")

LAST_TURN_SECONDS = 5.0


def own_name() -> str:
    """Return a name that no other worker has."""
    return f"{socket.gethostname()[:32]}-{os.getpid()}-{secrets.token_hex(4)}"


def beside_database(settings: Settings, database: Database, store: ObjectStore) -> Worker:
    """Return a worker that reaches the database and the image store itself. Raises as `Worker`."""
    name = own_name()
    return Worker(settings, DatabaseDepot(database, store, settings, name), name)


class Worker:
    """Makes images until it is told to stop.

    `tallies` counts what became of jobs, by generator and outcome; `seconds` what was spent on them, by generator;
    `leases_lost` those that were taken away; `store_errors` the times that the image store did not answer.

    Raises InputError where the image classifier of the settings cannot be loaded.
    """

    def __init__(self, settings: Settings, depot: Depot, name: str) -> None:
        self.name = name
        self.tallies: Counter[tuple[str, str]] = Counter()
        self.seconds: dict[str, float] = defaultdict(float)
        self.leases_lost = 0
        self.store_errors = 0
        self._settings = settings
        self._depot = depot
        self._inspector = open_inspector(settings)
        self._bench = Workbench(settings, self._inspector)
        self._lanes: list[Lane] = []
        self._lane_of: dict[str, Lane] = {}
        self._held: dict[int, Job] = {}
        self._lost: set[int] = set()
        self._ready: list[Result] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._unstored = 0
        self._stopping = threading.Event()
        self._giving_up = asyncio.Event()
        self._wake = asyncio.Event()
        self._next_look = 0.0
        self._log = structlog.get_logger("pickapic.worker").bind(worker=self.name)
        self._store_trouble = Trouble(self._log, "the image store")
        self._depot_trouble = Trouble(self._log, "the queue")

    @property
    def holding(self) -> int:
        """How many jobs are leased."""
        return len(self._held)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; then finish what is being made, within a grace time, and give back the rest."""
        watch = asyncio.create_task(self._watch(stop))
        heart = asyncio.create_task(self._beat())
        tries = 0
        try:
            await self._open_lanes()
            while not stop.is_set():
                self._wake.clear()
                rooms = self._rooms()
                pause: float | None = None
                if self._ready or any(room.jobs for room in rooms):
                    try:
                        found = await self._turn(rooms)
                        tries = 0
                        pause = None if found else self._depot.pause
                    except AwayError as error:
                        tries += 1
                        pause = self._depot_trouble.failed(error, tries)
                        await _wait(stop, pause)
                        continue
                if self._ready or (pause is None and any(room.jobs for room in self._rooms())):
                    continue
                await _wait(self._wake, pause)
        finally:
            await self._wind_up()
            for task in (watch, heart):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
            for lane in self._lanes:
                lane.close()

    async def work_once(self) -> int:
        """Make what one lease gives, and hand it over; return how many jobs that were."""
        await self._open_lanes()
        count = await self._turn(self._rooms())
        while self._tasks:
            await asyncio.wait(self._tasks)
        if self._ready:
            await self._turn([])
        return count

    async def _watch(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._stopping.set()
        self._wake.set()

    async def _open_lanes(self) -> None:
        if self._lanes:
            return
        here = Lane((), asides=True)
        providers = await here.call(self._bench.open)
        own = [name for name in self._bench.names if name not in providers]
        here.generators = tuple(own)
        self._lanes = [here, *(Lane((name,), at_once) for name, at_once in providers.items())]
        self._lane_of = {name: lane for lane in self._lanes for name in lane.generators}

    def _rooms(self) -> list[Room]:
        batch = self._settings.worker_batch
        # What cannot be stored must not become more.
        is_full = self._store_trouble.is_on or self._unstored > 4 * batch
        return [lane.room(0 if is_full or self._stopping.is_set() else batch) for lane in self._lanes]

    async def _turn(self, rooms: Sequence[Room]) -> int:
        """Hand over what is ready and start what comes for it; return how many jobs that are."""
        await self._read_blocked()
        results = tuple(self._ready)
        done = {result.job_id for result in results}
        holding = tuple(key for key in self._held if key not in done)
        jobs = await self._depot.turn(Report(results, holding, tuple(rooms)))
        self._depot_trouble.over()
        self._ready = self._ready[len(results) :]
        for result in results:
            job = self._held.pop(result.job_id, None)
            if job is not None:
                name = job.order.generator or job.order.kind
                self.tallies[name, result.outcome] += 1
                self.seconds[name] += result.seconds
        for job in jobs:
            self._held[job.id] = job
            self._lane_of.get(job.order.generator, self._lanes[0]).waiting.append(job)
        self._start()
        return len(jobs)

    async def _read_blocked(self) -> None:
        if time.monotonic() >= self._next_look:
            self._inspector.block(await self._depot.blocked())
            self._next_look = time.monotonic() + BLOCKED_SECONDS

    def _start(self) -> None:
        for lane in self._lanes:
            while batch := lane.next_batch():
                lane.running += 1
                task = asyncio.create_task(self._make(lane, batch))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _make(self, lane: Lane, batch: Sequence[Job]) -> None:
        try:
            results = await self._made(lane, batch)
        except Exception as error:
            # Held for ever, the jobs would be lost.
            self._log.error("a worker's own fault", exc_info=error)
            why = f"the worker failed: {type(error).__name__}: {error}"
            results = [Result(job.id, job.attempts, ERROR, message=why) for job in batch]
        self._ready += results
        self._wake.set()

    async def _made(self, lane: Lane, batch: Sequence[Job]) -> list[Result]:
        made: list[Made] = []
        try:
            sources = await self._sources(batch)
            start = time.perf_counter()
            made = await lane.call(partial(self._generate, batch, sources))
            seconds = time.perf_counter() - start
            lane.took(seconds, len(batch))
            made = [replace(one, result=replace(one.result, seconds=seconds / len(batch))) for one in made]
        finally:
            lane.running -= 1
            self._unstored += len(made)
            self._start()
            self._wake.set()
        try:
            return await asyncio.gather(*(self._store(one) for one in made))
        finally:
            self._unstored -= len(made)

    async def _sources(self, batch: Sequence[Job]) -> dict[int, bytes]:
        """Fetch the files that spoiled copies and images of a list are made from; what is missing is left out."""
        found: dict[int, bytes] = {}
        for job in batch:
            if job.source_sha256 is not None:
                try:
                    found[job.id] = await self._insist(partial(self._depot.fetch, job.source_sha256))
                except KeyError:
                    self._log.warning("a stored image is gone", job=job.id)
                except AwayError:
                    continue
        return found

    def _generate(self, batch: Sequence[Job], sources: Mapping[int, bytes]) -> list[Made]:
        made: list[Made] = []
        sizes: dict[int, Size] = {}
        for job in batch:
            if self._stopping.is_set() and (made or len(batch) == 1):
                made.append(Made(Result(job.id, job.attempts, UNMADE)))
                continue
            # Until its size is stored, a duel has that of the first image made for it here.
            size = self._bench.size_for(job) or sizes.get(job.duel_id)
            made.append(self._bench.make(job, size, sources.get(job.id)))
            image = made[-1].result.image
            if image is not None:
                sizes.setdefault(job.duel_id, (image.width, image.height))
        return made

    async def _store(self, one: Made) -> Result:
        image = one.result.image
        if one.result.outcome != MADE or image is None:
            return one.result
        try:
            await self._insist(partial(self._depot.store, one.data, image.sha256))
        except AwayError:
            return Result(one.result.job_id, one.result.attempt, UNMADE)
        return one.result

    async def _insist(self, call: Callable[[], Awaitable[T]]) -> T:
        """Try until the image store answers; its last AwayError, if the worker must end before."""
        tries = 0
        while True:
            try:
                result = await call()
            except AwayError as error:
                tries += 1
                self.store_errors += 1
                pause = self._store_trouble.failed(error, tries)
                await _wait(self._giving_up, pause)
                if self._giving_up.is_set():
                    raise
            except KeyError:  # an answer too: the store is there, the file is not
                self._store_trouble.over()
                raise
            else:
                self._store_trouble.over()
                return result

    async def _beat(self) -> None:
        """Prolong the leases until cancelled; what is not the worker's any more is not begun."""
        while True:
            await asyncio.sleep(self._settings.lease_seconds / 3)
            held = list(self._held)
            if not held:
                continue
            try:
                mine = await self._depot.heartbeat(held)
            except AwayError as error:
                self._depot_trouble.failed(error, 1)
                continue
            lost = {key for key in held if key in self._held and key not in mine}
            self.leases_lost += len(lost - self._lost)
            self._lost = lost
            for lane in self._lanes:
                for job in [job for job in lane.waiting if job.id in lost]:
                    lane.waiting.remove(job)
                    del self._held[job.id]

    async def _wind_up(self) -> None:
        self._stopping.set()
        end = time.monotonic() + self._settings.stop_seconds
        for lane in self._lanes:
            lane.waiting.clear()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._settings.stop_seconds)
        self._giving_up.set()
        await asyncio.sleep(0)
        for task in [task for task in self._tasks if not task.done()]:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        ready = {result.job_id for result in self._ready}
        self._ready += [
            Result(job.id, job.attempts, UNMADE) for job in self._held.values() if job.id not in ready
        ]
        end = max(end, time.monotonic() + LAST_TURN_SECONDS)
        tries = 0
        while True:
            try:
                await self._turn([])
                return
            except AwayError as error:
                tries += 1
                pause = self._depot_trouble.failed(error, tries)
                if time.monotonic() + pause > end:
                    self._log.warning(
                        "the worker ends without handing over what it made", images=len(self._ready)
                    )
                    return
                await asyncio.sleep(pause)


async def _wait(event: asyncio.Event, seconds: float | None) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
