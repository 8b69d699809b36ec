"""A real worker against the real app, over a line that loses answers, and servers that are something else."""

import asyncio
import time
from collections import Counter

import httpx
import pytest
from remote_machine import token

from pickapic.collect.duels import wire
from pickapic.collect.duels.handover import ERROR, MADE, Report, Result, Room
from pickapic.collect.duels.images import Finished
from pickapic.collect.people import tokens
from pickapic.collect.queue import workers
from pickapic.collect.tables import images
from pickapic.collect.tables import jobs as jobs_table
from pickapic.records import InputError
from pickapic.settings import load_settings
from pickapic.storage import blobs
from pickapic.web.service import now
from pickapic.worker import AwayError, Worker, own_name, remote
from pickapic.worker.remote import HttpDepot, TurnedAwayError, checked_address, fitted

pytestmark = pytest.mark.slow

ADDRESS = "http://localhost"


class Line(httpx.ASGITransport):
    """The app, over a line on which what `loses` says about a call gets lost: its answer, or the call itself."""

    def __init__(self, site, loses=lambda number, path: None):
        super().__init__(site.app, raise_app_exceptions=False)
        self.loses = loses
        self.calls = Counter()

    async def handle_async_request(self, request):
        path = request.url.path.removeprefix(wire.PATH)
        self.calls[path] += 1
        lost = self.loses(self.calls[path], path)
        if lost == "call":
            raise httpx.ConnectError("no route")
        reply = await super().handle_async_request(request)
        if lost == "answer":
            await reply.aread()
            raise httpx.ReadTimeout("the answer got lost")
        return reply


async def depot_of(site, stop, line, made=None):
    made = made or await token(site)
    return HttpDepot(ADDRESS, made.token, own_name(), stop, transport=line)


async def until_done(site, count, seconds=60):
    async with asyncio.timeout(seconds):
        while True:
            states = Counter(row.state for row in await site.rows(jobs_table))
            if states["done"] >= count:
                return
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("lost", [None, "answer", "call"])
def test_nothing_is_lost_and_nothing_made_twice_when_answers_are(on, lost, monkeypatch):
    monkeypatch.setattr("pickapic.worker.trouble.FIRST_PAUSE", 0.02)

    async def play(site):
        stop = asyncio.Event()
        line = Line(site, lambda number, path: lost if number % 3 == 2 else None)
        async with await depot_of(site, stop, line) as depot:
            while True:
                try:
                    rules = await depot.rules()
                    break
                except AwayError:
                    continue
            settings, unknown = fitted(site.settings, rules)
            assert unknown == []
            running = asyncio.create_task(Worker(settings, depot, own_name()).run(stop))
            for _ in range(3):
                await (await site.person()).start()
            await until_done(site, 18)
            stop.set()
            await running
        rows = await site.rows(jobs_table)
        assert {(row.state, row.attempts) for row in rows} == {("done", 1)}
        made = await site.rows(images)
        assert sorted(row.job_id for row in made) == sorted(row.id for row in rows)
        for row in made:
            assert blobs.content_key(await blobs.get(site.service.store, row.sha256)) == row.sha256
        assert line.calls["/turn"] >= 3
        assert depot.turned_away is None

    on(play)


def test_an_idle_worker_waits_at_the_server_and_stops_at_once(on):
    async def play(site):
        stop = asyncio.Event()
        line = Line(site)
        async with await depot_of(site, stop, line) as depot:
            settings, _ = fitted(site.settings, await depot.rules())
            running = asyncio.create_task(Worker(settings, depot, own_name()).run(stop))
            await asyncio.sleep(1.5)
            assert line.calls["/turn"] == 1, "one call, and it waits"
            person = await site.person()
            duel = await person.start()
            async with asyncio.timeout(15):
                while (await person.read(duel))["state"] != "ready":
                    await asyncio.sleep(0.02)
            await until_done(site, 6)
            await asyncio.sleep(0.3)
            start = time.monotonic()
            stop.set()
            await running
            assert time.monotonic() - start < 5
        assert {row.state for row in await site.rows(jobs_table)} == {"done"}

    on(play)


def test_a_revoked_token_ends_the_worker_and_says_why(on):
    async def play(site):
        stop = asyncio.Event()
        made = await token(site)
        async with await depot_of(site, stop, Line(site), made) as depot:
            settings, _ = fitted(site.settings, await depot.rules())
            running = asyncio.create_task(Worker(settings, depot, own_name()).run(stop))
            await asyncio.sleep(0.3)
            await site.service.database.write(tokens.revoke, made.uid, None, "stolen", now())
            async with asyncio.timeout(10):
                await running
            assert isinstance(depot.turned_away, TurnedAwayError)
            assert "does not take this token" in str(depot.turned_away)
            # From then on every call is over at once.
            assert await depot.turn(Report()) == []
            assert await depot.heartbeat([1]) == set()
            await depot.store(b"x", "0" * 64)
            with pytest.raises(KeyError):
                await depot.fetch("0" * 64)
            with pytest.raises(TurnedAwayError):
                await depot.rules()

    on(play)


def answering(status, **options):
    return httpx.MockTransport(lambda request: httpx.Response(status, **options))


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (
            (401, {"json": {"error": {"code": "unauthorized", "message": "It is wrong."}}}),
            "does not take this token",
        ),
        (
            (409, {"json": {"error": {"code": "protocol", "message": "Install the same version."}}}),
            "same version",
        ),
        ((404, {"html": "<h1>nginx</h1>"}), "Is it Pick-a-Pic"),
        ((302, {"headers": {"location": "https://elsewhere"}}), "sends this worker elsewhere"),
        ((421, {"json": {"error": {"message": "This server has another name."}}}), "another name"),
        ((403, {"json": [1]}), "refuses what this worker says"),
    ],
)
def test_a_server_that_wants_nothing_of_a_worker_ends_it_with_a_sentence(reply, words):
    async def play():
        stop = asyncio.Event()
        status, options = reply
        async with HttpDepot(ADDRESS, "t", "box", stop, transport=answering(status, **options)) as depot:
            with pytest.raises(TurnedAwayError, match=words):
                await depot.rules()
            assert stop.is_set()

    asyncio.run(play())


@pytest.mark.parametrize("status", [200, 408, 429, 500, 502, 503, 504])
def test_a_server_that_is_away_is_waited_for(status):
    async def play():
        stop = asyncio.Event()
        transport = answering(status, text="<h1>Down for maintenance</h1>")
        async with HttpDepot(ADDRESS, "t", "box", stop, transport=transport) as depot:
            for call in (
                depot.rules(),
                depot.turn(Report(rooms=(Room(("a",), 1),))),
                depot.heartbeat([1]),
                depot.store(b"x", "0" * 64),
            ):
                with pytest.raises(AwayError):
                    await call
            assert not stop.is_set()
            assert depot.turned_away is None

    asyncio.run(play())


def test_a_store_that_cannot_be_reached_from_here_is_gone_round(on, monkeypatch):
    async def play(site):
        stop = asyncio.Event()
        line = Line(site)
        async with await depot_of(site, stop, line) as depot:
            incoming = site.app.state.incoming

            async def upload(uid, sha256):
                return wire.Upload(url="http://127.0.0.1:9/bucket/x", headers={})

            monkeypatch.setattr(incoming, "upload", upload)
            data = b"\xff\xd8\xff" + bytes(100)
            key = blobs.content_key(data)
            for _ in range(remote.STORE_TRIES):
                with pytest.raises(AwayError, match="image store"):
                    await depot.store(data, key)
            await depot.store(data, key)
            assert await blobs.get(site.service.store, key) == data
            # And a store whose address would be readable on the way is not written to either.
            monkeypatch.setattr(
                incoming,
                "upload",
                lambda *_: asyncio.sleep(0, wire.Upload(url="http://s3.example/x", headers={})),
            )
            depot._detour_until = 0.0
            with pytest.raises(AwayError, match="in the clear"):
                await depot.store(data, key)

    on(play)


@pytest.mark.parametrize(
    "address",
    [
        "http://pick.example.org",
        "http://10.0.0.1:8000",
        "http://[2001:db8::1]",
        "http://localhost.evil.example",
    ],
)
def test_a_token_is_not_sent_in_the_clear_to_another_machine(address):
    with pytest.raises(InputError, match="in the clear"):
        checked_address(address, insecure=False)
    assert checked_address(f"{address}/", insecure=True) == address


def test_addresses_that_can_be_meant_and_those_that_cannot():
    for address in (
        "https://pick.example.org",
        "http://127.0.0.1:8000",
        "http://localhost",
        "http://[::1]:80",
    ):
        assert checked_address(address, insecure=False) == address
    for address in (
        "pick.example.org",
        "ftp://x",
        "https://",
        "https://user:secret@x",
        "",
        "file:///etc/passwd",
    ):
        with pytest.raises(InputError, match="no address"):
            checked_address(address, insecure=True)


@pytest.mark.parametrize("name", ["box", "vm-1-2", "Bürorechner-1-ab", "x" * 80, "-._", "a:b/c d", ""])
def test_every_machine_has_a_name_that_a_server_takes(name):
    assert workers.OWN_NAME.fullmatch(remote._fit_name(name))


def test_two_machines_keep_their_names_apart():
    assert remote._fit_name(own_name()) != remote._fit_name(own_name())
    assert remote._fit_name("x" * 32 + "-4194304-0a1b2c3d").endswith("-4194304-0a1b2c3d")


def rules(**changed):
    told = {
        "protocol": wire.PROTOCOL,
        "version": "1",
        "generators": ["miniature-aurora", "sdxl"],
        "lease_seconds": 30.0,
        "image_size": 512,
        "classifier": "none",
        "image_threshold": 0.4,
    }
    return wire.RulesSaid(**{**told, **changed})


def test_a_machine_s_generators_are_its_own_and_the_rules_the_server_s():
    own = load_settings(generators="miniature-aurora,miniature-dune", lease_seconds=99, image_threshold=0.9)
    changed, unknown = fitted(own, rules())
    assert (changed.worker_generators, unknown) == (("miniature-aurora",), ["miniature-dune"])
    assert (changed.lease_seconds, changed.image_size, changed.image_threshold) == (30.0, 512, 0.4)
    assert changed.image_classifier == "none"
    only = load_settings(generators="miniature-aurora,miniature-dune", worker_generators="miniature-dune")
    with pytest.raises(InputError, match=r"none of this machine's generators \(miniature-dune\)"):
        fitted(only, rules())


def finished(**changed):
    said = {
        "job_id": 1,
        "duel_id": 1,
        "sha256": "0" * 64,
        "width": 64,
        "height": 64,
        "model": "m",
        "prompt": "p",
    }
    said |= {"negative_prompt": "", "seed": 1, "guidance_scale": None, "steps": None, "scheduler": None}
    return Finished(**{**said, **changed})


def test_an_image_that_no_server_would_take_becomes_an_error_and_spoils_no_other():
    results = (
        Result(1, 1, MADE, finished(width=5000)),
        Result(2, 1, MADE, finished(seed=2**70)),
        Result(3, 1, MADE, finished(scheduler="x" * 99, sent="x" * 99_999), seconds=-1.0),
        Result(4, 1, ERROR, None, "x" * 5000, 2.0),
    )
    said = wire.report_said(Report(results), 0.0)
    assert [one.outcome for one in said.results] == ["error", "error", "made", "error"]
    assert "width" in said.results[0].message
    assert wire.ReportSaid.model_validate_json(said.model_dump_json()) == said
