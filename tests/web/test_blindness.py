"""What a browser can learn of a duel before it is over: neither the models, nor which rounds are checks."""

from __future__ import annotations

import asyncio
import io
import json
import random
import zipfile
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import update
from web_site import Site

from pickapic.collect.duels import gold
from pickapic.collect.tables import images, jobs, rounds
from pickapic.settings import Settings, load_settings
from pickapic.storage import blobs
from pickapic.web.routes.duels import follow_duel, look
from pickapic.web.service import now

pytestmark = pytest.mark.slow

ON_BOTH_DATABASES = True
SEED = 4

DUEL_KEYS = {
    "duel_id",
    "state",
    "prompt",
    "position",
    "eta_s",
    "progress",
    "picks",
    "round",
    "next_ready",
    "undo_round_id",
    "reason",
    "rounds",
}
ROUND_KEYS = {"round_id", "prompt", "images", "prefetch"}


@pytest.fixture
def settings(database_url, tmp_path) -> Settings:
    return load_settings(home=tmp_path / "home", database_url=database_url, gold_share=0.2)


async def playing(site):
    # Where check rounds are to come, they come at the same places in every run.
    object.__setattr__(site.service, "rng", random.Random(SEED))
    person = await site.person()
    duel = await person.start()
    await site.work()
    return person, await person.read(duel)


def path_of(duel: Any, wish: str = "pick") -> str:
    return f"/api/v1/rounds/{duel['round']['round_id']}/{wish}"


def error(reply) -> tuple[int, str]:
    return reply.status_code, reply.json()["error"]["code"]


async def add_pairs(site, count: int) -> None:
    for number in range(count):
        keys = []
        for colour in ((number, 200, 0), (number, 90, 90)):
            file = io.BytesIO()
            Image.new("RGB", (300, 200), colour).save(file, "PNG")
            keys.append(await blobs.put(site.service.store, file.getvalue()))
        await site.service.database.write(gold.add_pair, f"lawn number {number}", *keys, None, now())


def test_no_answer_of_an_open_duel_holds_a_secret(on):
    """Every answer and event of a played duel, with checks of both kinds in it, against all that is secret."""

    async def play(site):
        await add_pairs(site, 4)
        person, duel = await playing(site)
        said: list[str] = []
        answers: list[Any] = [duel]
        for number in range(40):
            for image in duel["round"]["images"]:
                reply = await person.get(image["url"])
                said.append(str(reply.headers))
            wish, body = (("skip", None), ("pick", {"pick": ("left", "tie", "right")[number % 3]}))[
                number % 9 > 0
            ]
            reply = await person.post(path_of(duel, wish), body)
            said += [reply.text, str(reply.headers)]
            if number % 7 == 3:
                reply = await person.post(path_of(duel, "undo"))
                said += [reply.text, str(reply.headers)]
            await site.work()
            reply = await person.get(f"/api/v1/duels/{duel['duel_id']}")
            said += [reply.text, str(reply.headers)]
            duel = reply.json()
            answers.append(duel)
        played = [row for row in await site.rows(rounds) if row.gold]
        assert any(row.gold_pair_id for row in played)
        assert any(not row.gold_pair_id for row in played)
        for address in ("", "/sessions", "/images", "/prompts", "/leaderboard"):
            reply = await person.get(f"/api/v1/me{address}")
            assert reply.status_code == 200
            said.append(reply.text)
        archive = zipfile.ZipFile(io.BytesIO((await person.get("/api/v1/me/export")).content))
        mine = "".join(archive.read(name).decode() for name in archive.namelist() if name.endswith(".json"))

        secrets: set[str] = set()
        for row in await site.rows(images):
            secrets |= {row.uid, row.model, row.sha256, str(row.seed)}
            secrets |= {str(row.guidance_scale)} if row.guidance_scale else set()
        secrets |= {job.generator for job in await site.rows(jobs) if job.generator}
        secrets |= {"corrupt", "better", "worse", "incumbent", "gold", "spoiled", "kept", "fetched"}
        secrets -= {"0", "5", ""}
        text = "\n".join(said)
        # Guidance scales such as 4.5 may be part of an estimate in seconds: those keys are checked below.
        found = {secret for secret in secrets if len(secret) > 4 and secret in text}
        assert found == set()
        # The files of one's own data are named by their hash, which whoever has the file knows.
        hashes = {row.sha256 for row in await site.rows(images)}
        assert {secret for secret in secrets - hashes if len(secret) > 4 and secret in mine} == set()
        for answer in answers:
            assert set(answer) == DUEL_KEYS
            if answer["round"]:
                assert set(answer["round"]) == ROUND_KEYS
                assert [set(image) for image in answer["round"]["images"]] == [{"side", "url"}] * 2
                assert len(answer["round"]["prefetch"]) <= 2

    on(play)


def test_an_event_says_what_every_answer_says(on):
    async def play(site):
        person, duel = await playing(site)
        # In process: the test client gives a stream only when it has ended.
        view = await look(site.service, person.user_id, duel["duel_id"])
        events = follow_duel(duel["duel_id"], site.service, person.user_id, view)
        event = await anext(events)
        await events.aclose()
        assert json.loads(event.raw_data) == await person.read(duel)

    on(play)


def test_images_are_sent_alike_whatever_they_are(on):
    async def play(site):
        await add_pairs(site, 2)
        person, duel = await playing(site)
        headers: dict[str, set[str]] = {}
        for number in range(40):
            for image in duel["round"]["images"]:
                reply = await person.get(image["url"])
                assert reply.status_code == 200
                pixels = Image.open(io.BytesIO(reply.content))
                assert (pixels.format, pixels.size, pixels.mode) == ("JPEG", (256, 256), "RGB")
                assert set(pixels.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
                assert len(pixels.app) == 1
                for name, value in reply.headers.items():
                    headers.setdefault(name, set()).add(value)
            duel = (await person.pick(duel, ("left", "right")[number % 2])).json()
            await site.work()
            duel = await person.read(duel)
        assert any(row.gold for row in await site.rows(rounds))
        varying = {name for name, values in headers.items() if len(values) > 1}
        assert varying <= {"content-length", "date", "x-request-id"}, "the last is random"

    on(play)


def test_the_words_of_a_listed_pair_stand_at_its_round_alone(on):
    async def play(site):
        await add_pairs(site, 6)
        person, duel = await playing(site)
        prompts = set()
        for _ in range(30):
            assert duel["prompt"] == "a red cat"
            prompts.add(duel["round"]["prompt"])
            duel = (await person.pick(duel, "left")).json()
            await site.work()
            duel = await person.read(duel)
        assert "a red cat" in prompts
        assert any(prompt.startswith("lawn number") for prompt in prompts)
        over = (await person.delete(f"/api/v1/duels/{duel['duel_id']}")).json()
        models = {image["model"] for answered in over["rounds"] for image in answered["images"]}
        assert not {model for model in models if not model.startswith("miniature-")}

    on(play)


def test_a_pick_counts_only_when_both_images_were_fetched(on):
    async def play(site):
        person, duel = await playing(site)
        left, right = (image["url"] for image in duel["round"]["images"])
        assert error(await person.post(path_of(duel), {"pick": "left"})) == (409, "not_shown")
        await person.get(left)
        assert error(await person.post(path_of(duel), {"pick": "left"})) == (409, "not_shown")
        stranger = await site.person()
        assert (await stranger.get(right)).status_code == 404
        assert error(await person.post(path_of(duel), {"pick": "left"})) == (409, "not_shown")
        assert {row.state for row in await site.rows(rounds)} == {"open"}
        await person.get(right)
        reply = await person.post(path_of(duel), {"pick": "left"})
        assert reply.status_code == 200
        # The kept image was seen; the new one of the next round was not, nor were those to come.
        assert error(await person.post(path_of(reply.json()), {"pick": "left"})) == (409, "not_shown")
        # To skip nothing needs to be seen.
        assert (await person.post(path_of(reply.json(), "skip"))).status_code == 200

    on(play)


def test_an_image_fetched_ahead_was_fetched(on):
    async def play(site):
        person, duel = await playing(site)
        await person.look(duel)
        for url in duel["round"]["prefetch"]:
            await person.get(url)
        following = (await person.post(path_of(duel), {"pick": "right"})).json()
        assert (await person.post(path_of(following), {"pick": "right"})).status_code == 200

    on(play)


def test_what_one_server_sent_another_knows_a_moment_later(on, settings):
    async def play(site):
        person, duel = await playing(site)
        async with Site(settings) as other:
            there = type(person)(other.client())
            there.client.cookies = person.client.cookies
            await person.look(duel)
            # The other process has sent nothing: it waits for the first to write down what it sent.
            reply = await there.post(path_of(duel), {"pick": "left"})
            assert reply.status_code == 200, reply.text
            following = reply.json()
            assert error(await person.post(path_of(following), {"pick": "left"})) == (409, "not_shown")
            await there.look(following)
            assert (await person.post(path_of(following), {"pick": "left"})).status_code == 200
            await there.client.aclose()

    on(play)


def test_what_was_sent_is_known_after_a_restart(settings):
    async def first():
        async with Site(settings) as site:
            person, duel = await playing(site)
            await person.look(duel)
            return dict(person.client.cookies), duel

    async def second(cookies, duel):
        async with Site(settings) as site:
            person = await site.person()
            person.client.cookies.clear()
            person.client.cookies.update(cookies)
            assert (await person.post(path_of(duel), {"pick": "tie"})).status_code == 200

    asyncio.run(second(*asyncio.run(first())))


def test_sending_images_costs_one_statement_for_many(on):
    async def play(site):
        people = [await playing(site) for _ in range(4)]
        written = []
        mark = site.service.database.write

        async def watched(work, *args):
            written.append((work.__name__, args))
            return await mark(work, *args)

        site.service.deliveries._database = type("Watched", (), {"write": staticmethod(watched)})()
        for person, duel in people:
            await person.look(duel)
        async with asyncio.timeout(15):
            while any(row.fetched_at is None for row in await site.rows(images) if row.state == "shown"):
                await asyncio.sleep(0.02)
        assert 1 <= len(written) <= 4
        assert sum(len(args[0]) for _, args in written) >= 8
        before = {row.id: row.fetched_at for row in await site.rows(images)}
        for person, duel in people:
            await person.look(duel)
        await asyncio.sleep(0.2)
        assert {row.id: row.fetched_at for row in await site.rows(images)} == before
        await asyncio.sleep(0.3)
        assert not site.service.deliveries._unwritten

    on(play)


def test_a_database_that_does_not_take_it_gets_it_later(on):
    async def play(site):
        person, duel = await playing(site)
        real = site.service.deliveries._database

        class Down:
            async def write(self, *_):
                raise OSError("gone")

        site.service.deliveries._database = Down()
        await person.look(duel)
        await site.service.deliveries.write()
        assert (await person.post(path_of(duel), {"pick": "left"})).status_code == 200  # this process knows
        site.service.deliveries._database = real
        await site.service.deliveries.write()
        assert all(row.fetched_at for row in await site.rows(images) if row.id <= 2)

    on(play)


def test_an_image_that_was_taken_away_is_neither_sent_nor_votable(on):
    async def play(site):
        person, duel = await playing(site)
        await person.look(duel)
        token = duel["round"]["images"][0]["url"].rpartition("/")[2]

        def remove(connection):
            connection.execute(update(images).where(images.c.token == token).values(state="removed"))

        await site.service.database.write(remove)
        site.service.locations.clear()
        assert (await person.get(duel["round"]["images"][0]["url"])).status_code == 404
        reply = await person.post(path_of(duel), {"pick": "left"})
        assert error(reply) == (409, "conflict")
        assert "skip" in reply.json()["error"]["message"]
        following = (await person.post(path_of(duel, "skip"))).json()
        assert following["round"]["round_id"] != duel["round"]["round_id"]

    on(play)


def test_which_browser_answered_is_stored(on):
    async def play(site):
        person, duel = await playing(site)
        reply = (await person.pick(duel, "left")).json()
        await person.post(path_of(reply, "skip"))
        first, second, _ = await site.rows(rounds)
        assert first.session_key is not None
        assert first.session_key == second.session_key

    on(play)


def test_where_a_duel_stands_says_nothing_of_what_is_made_beside_it(on):
    """Jobs for checks are neither counted nor waited for."""

    async def play(site):
        person, duel = await playing(site)
        for _ in range(12):
            duel = (await person.pick(duel, "left")).json()
            if not duel["round"]:
                kinds = {job.kind for job in await site.rows(jobs) if job.state == "queued"}
                assert "generate" in kinds
                assert duel["position"] >= 0
                assert duel["progress"] == 0.0
                await site.work()
                duel = await person.read(duel)
        assert "corrupt" in {job.kind for job in await site.rows(jobs)}

    on(play)
