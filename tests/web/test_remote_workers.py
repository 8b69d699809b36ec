"""Workers that come over HTTPS: what they get, what of their words counts, and what does not."""

import asyncio
import io
from pathlib import Path

import pytest
from PIL import Image
from remote_machine import Machine, image, made, picture, token

from pickapic.collect.duels import gold, wire
from pickapic.collect.moderation.images import perceptual_hash
from pickapic.collect.oversight import blocked
from pickapic.collect.people import tokens
from pickapic.collect.queue import jobs, workers
from pickapic.collect.tables import images
from pickapic.collect.tables import jobs as jobs_table
from pickapic.storage import blobs
from pickapic.web import machines
from pickapic.web.incoming import Incoming
from pickapic.web.service import now

pytestmark = pytest.mark.slow

ON_BOTH_DATABASES = True


@pytest.fixture
def afar(on):
    """Run `async def play(site, machine)` with a worker on another machine that has a token."""

    def run(play):
        async def started(site):
            site.makes = tuple(choice.name for choice in site.settings.generators)
            async with site.client() as client:
                site.made = await token(site)
                return await play(site, Machine(client, site.made.token))

        return on(started)

    return run


async def all_jobs(site):
    return {row.id: row for row in await site.rows(jobs_table)}


async def leased(site, machine, count=6):
    """Let somebody start a duel, and the machine lease its jobs."""
    person = await site.person()
    duel = await person.start("a red cat [blurry]")
    found = await machine.turn(want=count, makes=site.makes)
    assert len(found) == count
    return person, duel, found


def test_a_duel_is_made_from_afar(afar):
    async def play(site, machine):
        person, duel, found = await leased(site, machine)
        orders = await all_jobs(site)
        results = []
        for job in found:
            assert set(job) == set(wire.JobSaid.model_fields)
            assert (job["kind"], job["prompt"], job["attempt"], job["size"]) == (
                "generate",
                "a red cat",
                1,
                None,
            )
            data = picture(job["id"])
            assert (await machine.bring(data)).status_code == 204
            results.append(
                made(job, image(data, scheduler="euler", steps=12, follows_negative=True), seconds=0.5)
            )
        (seen,) = await site.service.database.read(workers.seen, now())
        assert (seen.name, seen.token_label, seen.leased) == (f"{site.made.uid}:box", "gpu 1", 6)
        assert set(seen.generators) == set(site.makes)
        assert await machine.turn(*results) == []
        assert await site.service.database.read(workers.seen, now()) == [], "a worker without rooms winds up"
        rows = await site.rows(images)
        assert len(rows) == 6
        for row in rows:
            order = orders[row.job_id]
            data = await blobs.get(site.service.store, row.sha256)
            assert data == picture(row.job_id)
            assert (row.model, row.prompt, row.negative_prompt) == (order.generator, "a red cat", "blurry")
            assert (row.seed, row.steps, row.scheduler, row.state) == (7, 12, "euler", "ready")
            assert row.phash == perceptual_hash(Image.open(io.BytesIO(data)))
        assert {row.state for row in (await all_jobs(site)).values()} == {"done"}
        duel = await person.read(duel)
        assert (await person.pick(duel, "left")).status_code == 200

    afar(play)


def test_the_same_again_changes_nothing_and_what_is_not_named_goes_back(afar):
    async def play(site, machine):
        _, _, found = await leased(site, machine, 4)
        first, second, *rest = found
        data = picture(1)
        await machine.bring(data)
        result = made(first, image(data))
        # The answer to this is lost, and with it two jobs: at the next turn the worker knows nothing of them.
        lost = await machine.turn(result, holding=[second["id"]], want=2, makes=site.makes)
        assert len(lost) == 2
        again = await machine.turn(result, holding=[second["id"]], want=2, makes=site.makes)
        assert {job["id"] for job in again} == {job["id"] for job in lost}
        assert {job["attempt"] for job in again} == {1}, "a lost answer is nobody's failure"
        assert len(await site.rows(images)) == 1
        states = {row.id: (row.state, row.attempts) for row in (await all_jobs(site)).values()}
        assert states[first["id"]] == ("done", 1)
        assert states[second["id"]] == ("leased", 1)
        given_back = {job["id"] for job in rest} - {job["id"] for job in again}
        assert {states[key] for key in given_back} <= {("queued", 0)}
        # Two results of one job in one report: the later counts, once.
        await machine.turn(result, result, holding=[])
        assert len(await site.rows(images)) == 1
        assert {row.state for row in (await all_jobs(site)).values()} == {"done", "queued"}

    afar(play)


def test_results_of_jobs_that_are_not_its_own_count_for_nothing(afar):
    async def play(site, machine):
        other = Machine(machine.client, (await token(site, label="gpu 2")).token)
        namesake = Machine(machine.client, site.made.token, "box-2")
        _, _, found = await leased(site, machine, 3)
        data = picture(1)
        await other.bring(data)
        before = await all_jobs(site)
        for stranger in (other, namesake):
            for outcome in ("made", "error", "refused", "unmade"):
                said = image(data) if outcome == "made" else None
                forged = [made(job, said) | {"outcome": outcome, "message": "x"} for job in found]
                forged.append(made({"id": 4711, "attempt": 1}, image(data)))
                forged.append(made({"id": 2**63 - 1, "attempt": 3}, None) | {"outcome": "error"})
                assert await stranger.turn(*forged, holding=[job["id"] for job in found]) == []
            kept = await stranger.call("POST", "/heartbeat", {"jobs": [job["id"] for job in found]})
            assert kept.json() == {"jobs": []}
        assert await all_jobs(site) == before
        assert await site.rows(images) == []
        own = await machine.call("POST", "/heartbeat", {"jobs": [job["id"] for job in found] + [4711]})
        assert own.json() == {"jobs": sorted(job["id"] for job in found)}

    afar(play)


def jpeg(data, **options):
    file = io.BytesIO()
    Image.open(io.BytesIO(data)).save(file, **{"format": "JPEG", "quality": 92, "subsampling": 0, **options})
    return file.getvalue()


def grey(data):
    file = io.BytesIO()
    Image.open(io.BytesIO(data)).convert("L").save(file, "JPEG")
    return file.getvalue()


PLAIN = picture(3)
EXIF = Image.Exif()
EXIF[0x010E] = "made by miniature-dune"
FALSE = {
    "never brought": (picture(9), image(picture(9)), False),
    "other size": (PLAIN, image(PLAIN, (64, 63)), True),
    "comment": (jpeg(PLAIN, comment=b"dune"), None, True),
    "exif": (jpeg(PLAIN, exif=EXIF), None, True),
    "more behind it": (PLAIN + b"dune\xff\xd9", None, True),
    "grey": (grey(PLAIN), None, True),
    "cut": (PLAIN[:600] + b"\xff\xd9", None, True),
    "no image": (PLAIN, "none", False),
}


@pytest.mark.parametrize("kind", FALSE)
def test_an_image_that_is_not_what_it_should_be_is_an_error_and_no_row(afar, kind):
    async def play(site, machine):
        data, said, is_brought = FALSE[kind]
        _, _, (job,) = await leased(site, machine, 1)
        if is_brought:
            assert (await machine.bring(data)).status_code == 204
        await machine.turn(made(job, None if said == "none" else said or image(data)))
        assert await site.rows(images) == []
        row = (await all_jobs(site))[job["id"]]
        assert (row.state, row.attempts) == ("queued", 1)
        assert row.error.startswith(f"{site.made.uid}:box: ")

    afar(play)


def test_a_file_is_refused_unless_it_is_what_its_address_says(afar):
    async def play(site, machine):
        data = picture(1)
        assert (await machine.bring(data, blobs.content_key(b"other"))).status_code == 422
        assert (await machine.bring(b"<html>")).status_code == 422
        assert (await machine.bring(b"")).status_code == 422
        for sha in ("..", "../../etc/passwd", "..%2f..%2fx", "a" * 63, "A" * 64, "g" * 64, "a" * 64 + "%00"):
            reply = await machine.call("PUT", f"/files/{sha}", content=data)
            assert reply.status_code in (404, 405, 422), sha
            reply = await machine.call("GET", f"/files/{sha}")
            assert reply.status_code in (404, 405, 422), sha
        large = b"\xff\xd8\xff" + bytes(wire.LARGEST_IMAGE)
        reply = await machine.bring(large)
        assert reply.status_code == 413

        async def endless():
            for _ in range(wire.LARGEST_IMAGE // 2**20 + 2):
                yield bytes(2**20)

        reply = await machine.call("PUT", f"/files/{'a' * 64}", content=endless())
        assert reply.status_code == 413
        folder = site.settings.images_url
        found = await asyncio.to_thread(lambda: list(Path(folder).rglob("*")))
        assert [path for path in found if path.is_file()] == []

    afar(play)


def test_all_images_of_a_duel_have_the_size_of_the_first(afar):
    async def play(site, machine):
        _, _, (first, second) = await leased(site, machine, 2)
        small, large = picture(1, (32, 32)), picture(2)
        for data in (small, large):
            await machine.bring(data)
        results = [made(first, image(small, (32, 32))), made(second, image(large))]
        await machine.turn(*results)
        assert [(row.width, row.height) for row in await site.rows(images)] == [(32, 32)]
        (again,) = await machine.turn(want=1, makes=site.makes)
        assert (again["id"], again["size"]) == (second["id"], [32, 32])
        await machine.turn(made(again, image(large)))
        assert "its duel has images of 32 x 32" in (await all_jobs(site))[second["id"]].error

    afar(play)


def test_the_server_itself_looks_for_what_is_blocked_and_believes_a_worker_that_found_something(afar):
    async def play(site, machine):
        shown, hidden, doubted = picture(1), picture(2), picture(3)
        phash = perceptual_hash(Image.open(io.BytesIO(hidden)))
        await site.service.database.write(
            blocked.block_image, phash, "", None, now(), site.settings.generators, site.service.rng
        )
        _, _, found = await leased(site, machine, 3)
        for data in (shown, hidden, doubted):
            await machine.bring(data)
        said = [image(shown), image(hidden), image(doubted, is_flagged=True)]
        await machine.turn(*(made(job, one) for job, one in zip(found, said, strict=True)))
        states = {row.sha256: (row.state, row.flag) for row in await site.rows(images)}
        assert states == {
            blobs.content_key(shown): ("ready", None),
            blobs.content_key(hidden): ("flagged", "blocked"),
            blobs.content_key(doubted): ("flagged", "classifier"),
        }
        assert len(await all_jobs(site)) == 6 + 2, "others are made in their place"

    afar(play)


def test_where_the_server_cannot_ask_the_classifier_the_worker_must(on, tmp_path, monkeypatch):
    async def play(site):
        async with site.client() as client:
            machine = Machine(client, (await token(site)).token)
            incoming: Incoming = site.app.state.incoming
            incoming._asked, incoming._inspector = "opennsfw", await incoming._open()
            rules = (await machine.call("GET", "/settings")).json()
            assert (rules["classifier"], rules["image_threshold"]) == ("opennsfw", 0.5)
            site.makes = tuple(rules["generators"])
            _, _, found = await leased(site, machine, 3)
            said = [{}, {"unfit": 0.2}, {"unfit": 0.9}]
            results = []
            for job, more in zip(found, said, strict=True):
                data = picture(job["id"])
                await machine.bring(data)
                results.append(made(job, image(data, **more)))
            await machine.turn(*results)
            assert [(row.state, row.unfit) for row in await site.rows(images)] == [
                ("ready", 0.2),
                ("flagged", 0.9),
            ]
            assert "did not ask the image classifier" in (await all_jobs(site))[found[0]["id"]].error

    on(play)


def test_spoiled_copies_and_pairs_of_a_list_are_made_from_files_that_only_their_worker_gets(afar):
    async def play(site, machine):
        source, pair = picture(1), picture(2)
        for data in (source, pair):
            await blobs.put(site.service.store, data)
        person = await site.person()
        duel = await person.start()
        await site.work()
        duel = await person.read(duel)
        first = (await site.rows(images))[0]
        uid = await site.service.database.write(
            gold.add_pair, "two", blobs.content_key(pair), blobs.content_key(source), None, now()
        )
        assert uid
        orders = [
            jobs.Order("", "a", "", 7.5, 1, 5, "corrupt", source_image_id=first.id, role="worse"),
            jobs.Order("", "two", "", 7.5, 1, 6, "gold", gold_pair_id=1, role="better"),
        ]
        await site.service.database.write(
            lambda connection: jobs.enqueue(
                connection, first.duel_id, person.user_id, [(one, 0) for one in orders], now()
            )
        )
        stranger = Machine(machine.client, (await token(site)).token)
        found = await machine.turn(want=8, asides=True)
        by_kind = {job["kind"]: job for job in found}
        assert set(by_kind) == {"corrupt", "gold"}
        for kind, sha in (("corrupt", first.sha256), ("gold", blobs.content_key(pair))):
            assert by_kind[kind]["source_sha256"] == sha
            reply = await machine.call("GET", f"/files/{sha}")
            assert blobs.content_key(reply.content) == sha
            assert (await stranger.call("GET", f"/files/{sha}")).status_code == 404
        for sha in (blobs.content_key(source), "0" * 64):  # the other one of the pair, and nothing
            assert (await machine.call("GET", f"/files/{sha}")).status_code == 404
        size = (first.width, first.height)
        data = [picture(7, size), picture(8, size)]
        for one in data:
            await machine.bring(one)
        results = [
            made(by_kind[kind], image(one, size, steps=3, scheduler="x"))
            for kind, one in zip(("corrupt", "gold"), data, strict=True)
        ]
        await machine.turn(*results)
        aside = {row.origin: row for row in await site.rows(images) if row.origin != "generated"}
        assert {(row.state, row.steps, row.scheduler) for row in aside.values()} == {("aside", None, None)}
        assert aside["corrupted"].model.startswith("corrupted-")
        assert (aside["corrupted"].source_image_id, aside["corrupted"].role) == (first.id, "worse")
        assert (aside["gold"].model, aside["gold"].role, aside["gold"].seed) == ("gold", "better", 6)
        assert (await machine.call("GET", f"/files/{first.sha256}")).status_code == 404, "the job is over"

    afar(play)


def test_a_job_is_given_as_soon_as_it_is_there(afar):
    async def play(site, machine):
        person = await site.person()
        waiting = asyncio.create_task(machine.turn(want=2, makes=site.makes, wait=20.0))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        await person.start()
        async with asyncio.timeout(15):
            assert len(await waiting) == 2
        # A later call of the same worker is the one whose answer it hears.
        only = site.makes[:1]
        await machine.turn(want=256, makes=site.makes, holding=[])
        early = asyncio.create_task(machine.turn(want=1, makes=only, wait=20.0, holding=list(range(1, 20))))
        await asyncio.sleep(0.3)
        assert await machine.turn(holding=list(range(1, 20))) == []
        async with asyncio.timeout(15):
            assert await early == []

    afar(play)


def test_a_worker_that_waits_is_sent_home_when_its_token_is_revoked(afar):
    async def play(site, machine):
        waiting = asyncio.create_task(machine.say(want=2, makes=site.makes, wait=20.0))
        await asyncio.sleep(0.2)
        await site.service.database.write(tokens.revoke, site.made.uid, None, "stolen", now())
        async with asyncio.timeout(machines.FRESH_SECONDS + 10):
            assert (await waiting).json() == {"jobs": []}
        reply = await machine.say(want=2, makes=site.makes)
        assert (reply.status_code, reply.headers["www-authenticate"][:6]) == (401, "Bearer")
        person = await site.person()
        await person.start()
        assert {row.state for row in (await all_jobs(site)).values()} == {"queued"}

    afar(play)


def test_only_generators_of_the_settings_and_as_many_jobs_as_they_say(afar):
    async def play(site, machine):
        await (await site.person()).start()
        await (await site.person()).start()
        assert await machine.turn(want=8, makes=("nobody's", "x" * 128)) == []
        found = await machine.turn(want=256, makes=(*site.makes, "nobody's"))
        assert len(found) == site.settings.worker_batch
        (seen,) = await site.service.database.read(workers.seen, now())
        assert set(seen.generators) == set(site.makes)

    afar(play)


BAD_REPORTS = [
    {"results": [], "holding": [], "rooms": [], "more": 1},
    {"results": [], "holding": [0], "rooms": []},
    {"results": [], "holding": ["1"], "rooms": []},
    {"results": [], "holding": [True], "rooms": []},
    {"results": [], "holding": [2**63], "rooms": []},
    {"results": [], "holding": [], "rooms": [], "wait_s": 1e9},
    {"results": [], "holding": [], "rooms": [{"generators": ["a"], "jobs": -1}]},
    {"results": [], "holding": [], "rooms": [{"generators": ["a"], "jobs": 10**9}]},
    {"results": [], "holding": [], "rooms": [{"generators": "a", "jobs": 1}]},
    {"results": [{"job_id": 1, "attempt": 1, "outcome": "shown"}], "holding": [], "rooms": []},
    {
        "results": [{"job_id": 1, "attempt": 1, "outcome": "error", "message": "x" * 501}],
        "holding": [],
        "rooms": [],
    },
    *(
        {
            "results": [{"job_id": 1, "attempt": 1, "outcome": "made", "image": image(PLAIN) | bad}],
            "holding": [],
            "rooms": [],
        }
        for bad in (
            {"sha256": "../" * 20},
            {"width": 10**6},
            {"height": 0},
            {"seed": 2**63},
            {"seed": 1.5},
            {"guidance_scale": "7"},
            {"unfit": 2},
            {"scheduler": "x" * 65},
            {"model": "another"},
        )
    ),
]


@pytest.mark.parametrize("report", BAD_REPORTS, ids=range(len(BAD_REPORTS)))
def test_a_report_that_breaks_the_rules_is_refused_whole(afar, report):
    async def play(site, machine):
        reply = await machine.call("POST", "/turn", report)
        assert reply.status_code == 422, reply.text
        assert await site.service.database.read(workers.seen, now()) == []

    afar(play)


def test_nobody_else_gets_in_and_a_worker_gets_nowhere_else(afar):
    async def play(site, machine):
        person = await site.person()
        duel = await person.start()
        calls = [
            ("GET", "/settings", None),
            ("POST", "/turn", {"results": [], "holding": [], "rooms": []}),
            ("POST", "/heartbeat", {"jobs": [1]}),
            ("POST", "/uploads", {"sha256": "0" * 64, "size": 1}),
            ("PUT", f"/files/{'0' * 64}", None),
            ("GET", f"/files/{'0' * 64}", None),
        ]
        score = await token(site, "score")
        strangers = [
            Machine(machine.client, score.token),
            Machine(machine.client, site.made.token[:-1]),
            Machine(machine.client, person.client.cookies["session"]),
        ]
        for method, path, body in calls:
            for stranger in strangers:
                assert (await stranger.call(method, path, body)).status_code == 401, path
            # A session, even of an admin with everything that a page sends, is no token.
            headers = person.csrf() | {wire.WORKER_HEADER: "box", wire.PROTOCOL_HEADER: "1"}
            reply = await person.client.request(method, wire.PATH + path, json=body, headers=headers)
            assert reply.status_code == 401
            assert reply.headers["www-authenticate"] == 'Bearer realm="pickapic"'
            assert "set-cookie" not in reply.headers
        bearer = {"Authorization": machine.headers["Authorization"]}
        round_path = f"/api/v1/duels/{duel['duel_id']}"
        for path in ("/api/v1/me", round_path, "/api/v1/me/export", "/admin", "/admin/workers"):
            reply = await machine.client.get(path, headers=bearer)
            assert reply.status_code in (401, 404), path
        for path in ("/api/v1/duels", "/api/v1/rounds/x/undo", "/api/v1/me/consent", "/api/v1/score"):
            assert (
                await machine.client.post(path, json={"prompt": "x", "images": ["x"]}, headers=bearer)
            ).status_code == 401

    afar(play)


def test_another_version_is_told_so_and_a_strange_name_refused(afar):
    async def play(site, machine):
        older = Machine(machine.client, site.made.token, **{wire.PROTOCOL_HEADER: "0"})
        reply = await older.call("GET", "/settings")
        assert (reply.status_code, reply.json()["error"]["code"]) == (409, "protocol")
        assert "Install the same version" in reply.json()["error"]["message"]
        for name in ("a:b", "../x", "x" * 52, " "):
            reply = await Machine(machine.client, site.made.token, name).call("GET", "/settings")
            assert reply.status_code == 422, name

    afar(play)


def test_what_a_worker_is_told_holds_no_secret(afar):
    async def play(site, machine):
        rules = (await machine.call("GET", "/settings")).json()
        assert set(rules) == set(wire.RulesSaid.model_fields)
        assert rules["generators"] == list(site.makes)
        text = repr(rules)
        for secret in (site.app.state.secret, site.settings.database_url, site.settings.images_url):
            assert secret not in text
        reply = await machine.call("POST", "/uploads", {"sha256": "0" * 64, "size": 5})
        assert reply.json() == {"url": f"{wire.PATH}/files/{'0' * 64}", "headers": {}}

    afar(play)
