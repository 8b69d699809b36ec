"""The worker and providers over HTTP: what they did is kept, and a slow or broken one holds up nobody else."""

import asyncio
import json
import threading
import time

import pytest
from workshop import Workshop, provider

from pickapic.collect.queue import breakers
from provider_server import ProviderServer, as_json

pytestmark = pytest.mark.slow


@pytest.fixture
def server():
    with ProviderServer() as server:
        server.openai()
        yield server


@pytest.fixture
def another():
    with ProviderServer() as server:
        server.openai()
        yield server


def slow(server: ProviderServer, seconds: float) -> list[int]:
    """Let every image take so long; return how many were in the making at each request."""
    route = server.routes["POST", "/v1/images/generations"]
    present: list[int] = []
    lock = threading.Lock()
    count = [0]

    def answer(seen):
        with lock:
            count[0] += 1
            present.append(count[0])
        time.sleep(seconds)
        with lock:
            count[0] -= 1
        return route(seen)

    server.routes["POST", "/v1/images/generations"] = answer
    return present


def test_what_a_provider_did_is_stored_with_the_image(tmp_path, server):
    server.openai(revised="a red cat on a wall")
    extra = {"user": "somebody", "api_key": "sk-1", "nested": {"token": "sk-2", "max_tokens": 7}}

    async def play():
        choice = {"cloud": provider(server.url, extra=extra)}
        async with Workshop(tmp_path, generators=choice) as shop:
            await shop.start("a red cat [blurry]")
            async with shop.at_work():
                await shop.until_done(6)
            orders = {row.id: row for row in await shop.jobs()}
            for row in await shop.images():
                order = orders[row.job_id]
                sent = json.loads(row.sent)
                assert sent["prompt"] == "a red cat"
                assert sent["negative_prompt"] == "blurry"
                assert sent["seed"] == order.seed == row.seed
                assert sent["api_key"] == sent["nested"]["token"] == "(hidden)"
                assert sent["nested"]["max_tokens"] == 7
                assert "sk-" not in row.sent
                assert row.revised_prompt == "a red cat on a wall"
                assert len(row.source_sha256) == 64
                assert row.source_sha256 != row.sha256
                assert 0 < row.seconds < 20
                assert (row.guidance_scale, row.steps) == (order.guidance_scale, order.steps)

    asyncio.run(play())


def test_what_a_provider_does_not_honour_is_stored_as_not_set(tmp_path, server):
    # Without a seed every image is the same here, so that of six only one is recorded.
    async def play():
        choice = {"cloud": provider(server.url, dialect="openai")}
        async with Workshop(tmp_path, generators=choice, max_attempts=1) as shop:
            await shop.start("a red cat [blurry]")
            async with shop.at_work():

                async def is_over():
                    states = await shop.states()
                    return not states["queued"] and not states["leased"]

                await shop.until(is_over)
            (row,) = await shop.images()
            assert (row.guidance_scale, row.steps, row.negative_prompt) == (None, None, "")
            errors = {job.error for job in await shop.jobs() if job.state == "dead"}
            assert errors == {"the generator drew the same picture as another of its duel"}

    asyncio.run(play())


def test_a_slow_provider_takes_what_it_declares_and_holds_up_nobody_else(tmp_path, server, another):
    present = slow(server, 0.6)

    async def play():
        choices = {
            "slow": provider(server.url, concurrency=3),
            "quick": provider(another.url),
            "miniature-aurora": {},
        }
        async with Workshop(tmp_path, generators=choices, images_ahead=22) as shop:
            await shop.start()
            wanted = [row.generator for row in await shop.jobs()]
            assert wanted.count("slow") > 3
            async with shop.at_work():
                await shop.until_done(len(wanted) - wanted.count("slow"))
                states = [row.state for row in await shop.jobs() if row.generator != "slow"]
                assert set(states) == {"done"}
                leased = [row for row in await shop.jobs() if row.state == "leased"]
                assert len(leased) <= 3, "what it cannot make at once is left to other workers"
                await shop.until_done(len(wanted))
        assert max(present) == 3

    asyncio.run(play())


def test_a_provider_that_fails_is_benched_and_the_others_go_on(tmp_path, server, another):
    server.routes["POST", "/v1/images/generations"] = lambda seen: as_json({"error": "overloaded"}, 503)

    async def play():
        choices = {"broken": provider(server.url, concurrency=1), "sound": provider(another.url)}
        async with Workshop(tmp_path, generators=choices, images_ahead=10) as shop:
            uid = await shop.start()
            assert [row.generator for row in await shop.jobs()].count("broken") > 3
            async with shop.at_work():
                await shop.until_done(12)
            assert {row.model for row in await shop.images()} == {"sound"}
            assert {row.attempts for row in await shop.jobs()} == {1}
            assert len(server.seen) <= 4
            failing = await shop.database.read(breakers.read)
            assert failing["broken"].benched_until is not None
            assert "503" in failing["broken"].error
            assert (await shop.look(uid)).may_advance

    asyncio.run(play())


def test_the_only_provider_comes_back_and_nothing_was_given_up(tmp_path, server):
    sound = server.routes["POST", "/v1/images/generations"]
    server.routes["POST", "/v1/images/generations"] = lambda seen: as_json({"error": "overloaded"}, 503)

    async def play():
        choice = {"cloud": provider(server.url)}
        rules = {"breaker_seconds": 0.3, "max_attempts": 1}
        async with Workshop(tmp_path, generators=choice, **rules) as shop:
            await shop.start()
            async with shop.at_work():

                async def is_benched():
                    return "cloud" in await shop.database.read(breakers.read)

                await shop.until(is_benched)
                await asyncio.sleep(0.5)
                server.routes["POST", "/v1/images/generations"] = sound
                await shop.until_done(6)
            assert await shop.database.read(breakers.read) == {}
            assert await shop.states() == {"done": 6}

    asyncio.run(play())


def test_a_provider_that_refuses_is_heard_and_another_draws(tmp_path, server, another):
    error = {"error": {"code": "content_policy_violation", "message": "rejected by the safety system"}}
    server.routes["POST", "/v1/images/generations"] = lambda seen: as_json(error, 400)

    async def play():
        choices = {"prim": provider(server.url), "frank": provider(another.url)}
        async with Workshop(tmp_path, generators=choices) as shop:
            uid = await shop.start()
            prim = [row.generator for row in await shop.jobs()].count("prim")
            assert prim
            async with shop.at_work():
                await shop.until_done(6)
            states = await shop.states()
            assert (states["done"], states["refused"]) == (6, prim)
            errors = {row.error for row in await shop.jobs() if row.state == "refused"}
            assert errors == {"m refused: rejected by the safety system"}
            assert {row.model for row in await shop.images()} == {"frank"}
            assert await shop.database.read(breakers.read) == {}
            assert (await shop.look(uid)).may_advance

    asyncio.run(play())


def test_a_server_with_one_default_seed_brings_no_equal_pair_since_seeds_are_sent(tmp_path, server):
    async def play():
        choice = {"sglang": provider(server.url, dialect="sglang")}
        async with Workshop(tmp_path, generators=choice) as shop:
            await shop.start()
            async with shop.at_work():
                await shop.until_done(6)
            made = await shop.images()
            assert len({row.sha256 for row in made}) == len({row.source_sha256 for row in made}) == 6

    asyncio.run(play())


def test_a_key_that_is_missing_benches_the_generator_and_says_which(tmp_path, server, monkeypatch):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)

    async def play():
        choices = {
            "locked": provider(server.url, key_variable="NO_SUCH_KEY"),
            "open": provider(server.url),
        }
        async with Workshop(tmp_path, generators=choices, images_ahead=10) as shop:
            await shop.start()
            async with shop.at_work():
                await shop.until_done(12)
            failing = await shop.database.read(breakers.read)
            assert "NO_SUCH_KEY" in failing["locked"].error
            assert {row.model for row in await shop.images()} == {"open"}

    asyncio.run(play())


def test_a_worker_told_to_stop_finishes_what_a_provider_is_at_and_gives_back_the_rest(tmp_path, server):
    slow(server, 0.5)

    async def play():
        choice = {"cloud": provider(server.url, concurrency=2)}
        async with Workshop(tmp_path, generators=choice) as shop:
            await shop.start()
            async with shop.at_work() as stop:

                async def is_at_it():
                    return len(server.seen) == 2

                await shop.until(is_at_it)
                stop.set()
            assert await shop.states() == {"done": 2, "queued": 4}
            assert {row.attempts for row in await shop.jobs() if row.state == "queued"} == {0}

    asyncio.run(play())


def test_a_provider_that_does_not_come_to_an_end_is_left_behind(tmp_path, server):
    slow(server, 12.0)

    async def play():
        choice = {"cloud": provider(server.url, concurrency=2)}
        async with Workshop(tmp_path, generators=choice, stop_seconds=0.2) as shop:
            await shop.start()
            start = 0.0
            async with shop.at_work() as stop:

                async def is_at_it():
                    return len(server.seen) == 2

                await shop.until(is_at_it)
                start = time.monotonic()
                stop.set()
            assert time.monotonic() - start < 10
            assert await shop.states() == {"queued": 6}
            assert {row.attempts for row in await shop.jobs()} == {0}

    asyncio.run(play())
