"""The worker while the database or the image store does not answer: what is made is kept, and nothing worn out."""

import asyncio
import time
from dataclasses import replace

import pytest
import structlog
from sqlalchemy import update
from workshop import Workshop

from pickapic.collect.duels.handover import MADE
from pickapic.collect.tables import jobs
from pickapic.worker import AwayError, Worker

pytestmark = pytest.mark.slow


class Flaky:
    """A depot whose parts can be cut off."""

    def __init__(self, depot) -> None:
        self.depot = depot
        self.pause = depot.pause
        self.cut: set[str] = set()
        self.calls: list[str] = []
        self.unheard = 0  # so many turns take place, and their answers are lost

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name in self.cut:
            raise AwayError(f"{name} is cut off")

    async def turn(self, report):
        self._call("turn")
        leased = await self.depot.turn(report)
        if self.unheard and leased:
            self.unheard -= 1
            raise AwayError("the answer was lost")
        return leased

    async def heartbeat(self, ids):
        self._call("turn")
        return await self.depot.heartbeat(ids)

    async def store(self, data, sha256):
        self._call("store")
        await self.depot.store(data, sha256)

    async def fetch(self, sha256):
        self._call("fetch")
        return await self.depot.fetch(sha256)

    async def blocked(self):
        self._call("turn")
        return await self.depot.blocked()


@pytest.fixture
def lines():
    with structlog.testing.capture_logs() as lines:
        yield lines


@pytest.fixture(autouse=True)
def _hasty(monkeypatch):
    monkeypatch.setattr("pickapic.worker.trouble.FIRST_PAUSE", 0.02)
    monkeypatch.setattr("pickapic.worker.trouble.LONGEST_PAUSE", 0.1)


def flaky(shop: Workshop) -> Flaky:
    depot = Flaky(shop.worker._depot)
    shop.worker = Worker(shop.settings, depot, shop.worker.name)
    return depot


def said(lines, event: str) -> int:
    return sum(event in line["event"] for line in lines)


def test_while_the_store_refuses_leases_are_prolonged_and_the_log_says_so_once(tmp_path, lines):
    async def play():
        async with Workshop(tmp_path, lease_seconds=0.6, images_ahead=30) as shop:
            depot = flaky(shop)
            depot.cut = {"store"}
            await shop.start()
            async with shop.at_work():

                async def is_trying():
                    return depot.calls.count("store") > 8

                await shop.until(is_trying)
                held = shop.worker.holding
                await asyncio.sleep(1.5)  # two leases and a half
                assert shop.worker.holding == held
                states = await shop.states()
                assert (states["leased"], states["done"]) == (held, 0)
                assert held < 32, "no new leases meanwhile"
                depot.cut = set()
                await shop.until_done(32)
            assert {row.attempts for row in await shop.jobs()} == {1}
            assert {row.error for row in await shop.jobs()} == {None}

    asyncio.run(play())
    assert said(lines, "the image store does not answer") == 1
    assert said(lines, "the image store answers again") == 1


def test_while_the_database_is_away_what_is_made_is_kept(tmp_path, lines):
    async def play():
        async with Workshop(tmp_path, images_ahead=10) as shop:
            depot = flaky(shop)
            await shop.start()
            async with shop.at_work():

                async def has_some():
                    return shop.worker.holding > 0

                await shop.until(has_some)
                depot.cut = {"turn"}
                await asyncio.sleep(0.5)
                kept = len(shop.worker._ready)
                assert kept > 0
                depot.cut = set()
                await shop.until_done(12)
            assert {row.attempts for row in await shop.jobs()} == {1}

    asyncio.run(play())
    assert said(lines, "the queue does not answer") == 1


def test_an_answer_that_is_lost_loses_no_job_and_wears_out_none(tmp_path):
    async def play():
        async with Workshop(tmp_path) as shop:
            depot = flaky(shop)
            depot.unheard = 2
            await shop.start()
            async with shop.at_work():
                await shop.until_done(6)
            assert {row.attempts for row in await shop.jobs()} == {1}
            assert len(await shop.images()) == 6

    asyncio.run(play())


def test_a_worker_that_is_stopped_while_the_store_refuses_gives_its_jobs_back(tmp_path):
    async def play():
        async with Workshop(tmp_path, stop_seconds=0.3) as shop:
            depot = flaky(shop)
            depot.cut = {"store"}
            await shop.start()
            start = time.monotonic()
            async with shop.at_work() as stop:

                async def is_trying():
                    return depot.calls.count("store") > 3

                await shop.until(is_trying)
                start = time.monotonic()
                stop.set()
            assert time.monotonic() - start < 10
            assert await shop.states() == {"queued": 6}
            assert {row.attempts for row in await shop.jobs()} == {0}
            assert await shop.images() == []

    asyncio.run(play())


def test_what_another_worker_has_taken_over_is_not_begun(tmp_path):
    async def play():
        async with Workshop(tmp_path, lease_seconds=0.2) as shop:
            worker = shop.worker
            await shop.start()
            await worker._open_lanes()
            lane = worker._lanes[0]
            rooms = [lane.room(4)]
            lane.running = 1  # its thread is busy: what is leased waits here
            await worker._turn(rooms)
            first, *others = worker._held
            assert others
            await shop.database.write(
                lambda connection: connection.execute(
                    update(jobs).where(jobs.c.id == first).values(worker="another")
                )
            )
            heart = asyncio.create_task(worker._beat())

            async def is_noticed():
                return worker.leases_lost == 1

            await shop.until(is_noticed)
            heart.cancel()
            assert list(worker._held) == [job.id for job in lane.waiting] == others

    asyncio.run(play())


def test_a_result_that_cannot_be_recorded_costs_its_own_job_alone(tmp_path, lines):
    async def play():
        async with Workshop(tmp_path, max_attempts=1) as shop:
            await shop.start()
            make = shop.worker._bench.make

            def spoil(job, *rest):
                made = make(job, *rest)
                if job.id == 2 and made.result.outcome == MADE:
                    image = replace(made.result.image, source_image_id=2**70)
                    return replace(made, result=replace(made.result, image=image))
                return made

            shop.worker._bench.make = spoil
            async with shop.at_work():
                await shop.until_done(5)

                async def is_over():
                    return (await shop.states())["dead"] == 1

                await shop.until(is_over)
            dead = next(row for row in await shop.jobs() if row.state == "dead")
            assert dead.id == 2
            assert "cannot be recorded" in dead.error

    asyncio.run(play())
