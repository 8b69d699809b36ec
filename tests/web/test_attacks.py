"""A stranger who wants in: forged ids, replays, races, other people's things, malformed requests."""

import asyncio

import pytest
from web_site import Site

from pickapic.collect.tables import duels, jobs, rounds, sessions, users
from pickapic.settings import load_settings

ON_BOTH_DATABASES = True


async def playing(site, prompt="a red cat"):
    person = await site.person()
    duel = await person.start(prompt)
    await site.work()
    return person, await person.read(duel)


def assert_error(reply, status, *words):
    assert reply.status_code == status, reply.text
    assert set(reply.json()) == {"error"}
    error = reply.json()["error"]
    assert set(error) == {"code", "message"}
    assert error["message"][-1] in ".!?"
    for word in words:
        assert word in error["message"], error


def test_without_a_session_nothing_is_possible(on):
    async def play(site):
        person, duel = await playing(site)
        async with site.client() as stranger:
            for method, path in [
                ("GET", "/api/v1/me"),
                ("GET", "/api/v1/me/export"),
                ("DELETE", "/api/v1/me"),
                ("POST", "/api/v1/duels"),
                ("GET", f"/api/v1/duels/{duel['duel_id']}"),
                ("GET", f"/api/v1/duels/{duel['duel_id']}/events"),
                ("DELETE", f"/api/v1/duels/{duel['duel_id']}"),
                ("POST", f"/api/v1/rounds/{duel['round']['round_id']}/pick"),
                ("POST", f"/api/v1/rounds/{duel['round']['round_id']}/skip"),
                ("POST", f"/api/v1/rounds/{duel['round']['round_id']}/undo"),
                ("GET", duel["round"]["images"][0]["url"]),
                ("POST", "/api/v1/score"),
            ]:
                body = {"json": {"pick": "left"}} if method == "POST" else {}
                assert_error(await stranger.request(method, path, **body), 401)
        assert (await person.read(duel))["picks"] == 0

    on(play)


def test_other_peoples_things_do_not_exist(on):
    async def play(site):
        person, duel = await playing(site)
        stranger = await site.person()
        assert_error(await stranger.pick(duel, "left"), 404)
        assert_error(await stranger.post(f"/api/v1/rounds/{duel['round']['round_id']}/skip"), 404)
        assert_error(await stranger.post(f"/api/v1/rounds/{duel['round']['round_id']}/undo"), 404)
        assert_error(await stranger.get(f"/api/v1/duels/{duel['duel_id']}"), 404)
        assert_error(await stranger.get(f"/api/v1/duels/{duel['duel_id']}/events"), 404)
        assert_error(await stranger.delete(f"/api/v1/duels/{duel['duel_id']}"), 404)
        assert_error(await stranger.get(duel["round"]["images"][0]["url"]), 404)
        site.service.locations.clear()
        assert_error(await stranger.get(duel["round"]["images"][0]["url"]), 404)
        assert (await person.get(duel["round"]["images"][0]["url"])).status_code == 200
        assert (await person.read(duel))["round"] == duel["round"]

    on(play)


@pytest.mark.parametrize(
    "forged", ["1", "0", "-1", "x" * 5000, "%00", "..%2f..%2fetc%2fpasswd", "' OR 1=1 --", "%ff%fe", "🐱"]
)
def test_forged_ids_are_not_found(on, forged):
    async def play(site):
        person, _ = await playing(site)
        for path in (f"/api/v1/duels/{forged}", f"/api/v1/images/{forged}"):
            assert_error(await person.get(path), 404)
        for wish in ("pick", "skip", "undo"):
            reply = await person.post(f"/api/v1/rounds/{forged}/{wish}", {"pick": "left"})
            assert_error(reply, 404)

    on(play)


def test_the_winner_the_sides_and_the_user_cannot_be_claimed(on):
    async def play(site):
        person, duel = await playing(site)
        path = f"/api/v1/rounds/{duel['round']['round_id']}/pick"
        for claim in (
            {"pick": "left", "winner": "x"},
            {"pick": "left", "user_id": 1},
            {"pick": "LEFT"},
            {"pick": 0},
            {"pick": None},
            {"pick": ["left"]},
            {},
        ):
            assert_error(await person.post(path, claim), 422, *([] if not claim else [list(claim)[-1]]))
        assert {row.state for row in await site.rows(rounds)} == {"open"}

    on(play)


def test_a_replayed_pick_is_counted_once_and_a_changed_one_refused(on):
    async def play(site):
        person, duel = await playing(site)
        replies = [await person.pick(duel, "left") for _ in range(5)]
        assert {reply.status_code for reply in replies} == {200}
        assert len({reply.text for reply in replies}) == 1
        assert_error(await person.pick(duel, "right"), 409, "otherwise")
        assert_error(await person.pick(duel, "tie"), 409)
        assert [row.pick for row in await site.rows(rounds)] == ["left", None]

    on(play)


def test_of_two_different_picks_at_once_exactly_one_counts(on):
    async def play(site):
        person, duel = await playing(site)
        for _ in range(5):
            replies = await asyncio.gather(
                *(person.pick(duel, answer) for answer in ("left", "right", "tie", "left", "right"))
            )
            codes = sorted(reply.status_code for reply in replies)
            assert set(codes) == {200, 409}
            await site.work()
            stored = [row for row in await site.rows(rounds) if row.uid == duel["round"]["round_id"]]
            assert len(stored) == 1
            answers = ("left", "right", "tie", "left", "right")
            good = {
                answer for answer, reply in zip(answers, replies, strict=True) if reply.status_code == 200
            }
            assert good == {stored[0].pick}
            duel = await person.read(duel)
        assert [row.state for row in await site.rows(rounds)].count("answered") == 5
        assert [row.state for row in await site.rows(rounds)].count("open") == 1

    on(play)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"prompt": ""}, ["empty"]),
        ({"prompt": "   "}, ["empty"]),
        ({"prompt": "x" * 10_000}, ["10000 characters", "at most 500"]),
        ({"prompt": "[blurry]"}, ["not wanted"]),
        ({"prompt": "a\u0000b"}, ["not text"]),
        ({"prompt": 7}, ["prompt"]),
        ({"prompt": None}, ["prompt"]),
        ({}, ["prompt is missing"]),
        ({"prompt": "a", "model": "best"}, ["model is not known"]),
        ([1], ["JSON object"]),
        ("a cat", ["JSON object"]),
        (None, ["missing"]),
    ],
)
def test_a_prompt_that_cannot_be_used_is_refused_and_nothing_queued(on, body, words):
    async def play(site):
        person = await site.person()
        assert_error(await person.post("/api/v1/duels", body), 422, *words)
        assert await site.rows(duels) == []
        assert await site.rows(jobs) == []

    on(play)


@pytest.mark.parametrize("content", [b"{", b'{"prompt": "\\ud800"}', b"\xff\xfe", b"", b"[" * 60_000])
def test_a_body_that_is_no_json_is_refused(on, content):
    async def play(site):
        person = await site.person()
        headers = {**person.csrf(), "Content-Type": "application/json"}
        assert_error(await person.client.post("/api/v1/duels", content=content, headers=headers), 422)
        assert await site.rows(duels) == []

    on(play)


def test_an_oversized_body_is_refused_before_it_is_read(on):
    async def play(site):
        person = await site.person()
        assert_error(await person.post("/api/v1/duels", {"prompt": "x" * 70_000}), 413, "65536")

        async def stream():
            for _ in range(100):
                yield b"x" * 1000

        headers = {**person.csrf(), "Content-Type": "application/json"}
        assert_error(await person.client.post("/api/v1/duels", content=stream(), headers=headers), 413)

    on(play)


def test_every_change_needs_the_csrf_header_of_this_session(on):
    async def play(site):
        person, duel = await playing(site)
        other = await site.person()
        path = f"/api/v1/rounds/{duel['round']['round_id']}/pick"
        foreign = other.client.cookies["csrf"]
        for headers in ({}, {"X-CSRF-Token": "x"}, {"X-CSRF-Token": foreign}):
            assert_error(await person.post(path, {"pick": "left"}, headers=headers), 403)
        # An attacker who can plant a cookie (from a sibling domain) plants one of a session of their own.
        own = person.client.cookies["csrf"]
        planted = {
            "Cookie": f"session={person.client.cookies['session']}; csrf={foreign}",
            "X-CSRF-Token": foreign,
        }
        async with site.client() as client:
            reply = await client.post(path, json={"pick": "left"}, headers=planted)
            assert_error(reply, 403)
        evil = {"X-CSRF-Token": own, "Origin": "https://evil.example"}
        assert_error(await person.post(path, {"pick": "left"}, headers=evil), 403, "another site")
        assert_error(await person.client.delete("/api/v1/me"), 403)
        assert_error(await person.client.delete(f"/api/v1/duels/{duel['duel_id']}"), 403)
        assert (await person.read(duel))["picks"] == 0
        await person.look(duel)
        fine = {"X-CSRF-Token": own, "Origin": "http://test"}
        assert (await person.post(path, {"pick": "left"}, headers=fine)).status_code == 200

    on(play)


def test_signing_in_cannot_be_forced_from_another_site(on):
    async def play(site):
        async with site.client() as client:
            assert_error(await client.post("/auth/guest"), 403)
            await client.get("/")
            assert_error(await client.post("/auth/guest", headers={"X-CSRF-Token": "guess"}), 403)
        assert await site.rows(users) == []

    on(play)


def test_a_lost_cookie_loses_the_session_but_no_pick(on):
    async def play(site):
        person, duel = await playing(site)
        await person.pick(duel, "left")
        del person.client.cookies["session"]
        assert_error(await person.pick(duel, "left"), 401)
        assert_error(await person.get(f"/api/v1/duels/{duel['duel_id']}"), 401)
        assert (await person.post("/auth/guest")).status_code == 201
        assert_error(await person.get(f"/api/v1/duels/{duel['duel_id']}"), 404)
        new = await person.start("again")
        assert new["state"] == "queued"
        assert next(row.state for row in await site.rows(rounds)) == "answered"

    on(play)


def test_a_forged_or_ended_session_is_none(on):
    async def play(site):
        person, duel = await playing(site)
        kept = dict(person.client.cookies)
        for forged in ("x", "A" * 43, kept["session"][:-2] + "xx", "../../x", "é"):
            async with site.client() as client:
                reply = await client.get("/api/v1/me", headers={"Cookie": f"session={forged}".encode()})
                assert_error(reply, 401)
        assert (await person.post("/auth/sign-out")).status_code == 204
        assert await site.rows(sessions) == []
        async with site.client() as thief:
            thief.cookies.update(kept)
            assert_error(await thief.get("/api/v1/me"), 401)
            reply = await thief.post(
                f"/api/v1/rounds/{duel['round']['round_id']}/pick",
                json={"pick": "left"},
                headers={"X-CSRF-Token": kept["csrf"]},
            )
            assert_error(reply, 401)

    on(play)


def test_signing_in_never_takes_over_a_session_that_was_planted(on):
    async def play(site):
        async with site.client() as client:
            client.cookies.set("session", "A" * 43, domain="test")
            await client.get("/")
            reply = await client.post("/auth/guest", headers={"X-CSRF-Token": client.cookies.get("csrf")})
            assert reply.status_code == 201
            assert "session=" + "A" * 43 not in str(reply.headers)
            assert len(await site.rows(sessions)) == 1

    on(play)


def test_guests_only_where_they_are_allowed(tmp_path, on):
    async def play(site):
        async with site.client() as client:
            await client.get("/")
            reply = await client.post("/auth/guest", headers={"X-CSRF-Token": client.cookies["csrf"]})
            assert_error(reply, 403, "Guests are not allowed")

    on(play, Site(load_settings(home=tmp_path / "strict", allow_guests=False)))


def test_too_many_prompts_are_told_when_to_come_back(tmp_path, on):
    async def play(site):
        person = await site.person()
        await person.start()
        reply = await person.post("/api/v1/duels", {"prompt": "one more"})
        assert_error(reply, 429)
        assert 1 <= int(reply.headers["retry-after"]) <= 61
        assert len(await site.rows(duels)) == 1

    on(play, Site(load_settings(home=tmp_path / "strict", prompts_per_minute=1)))


def test_a_prompt_with_markup_comes_back_as_text(on):
    async def play(site):
        evil = "<script>alert(1)</script> a 'cat' & \"dog\""
        person, duel = await playing(site, evil)
        assert duel["prompt"] == evil
        reply = await person.get(f"/api/v1/duels/{duel['duel_id']}")
        assert reply.headers["content-type"] == "application/json"
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert "script-src 'self'" in reply.headers["content-security-policy"]

    on(play)


def test_static_files_do_not_lead_out_of_their_folder(on):
    async def play(site):
        async with site.client() as client:
            for path in (
                "/static/../app.py",
                "/static/%2e%2e/app.py",
                "/static/..%2fapp.py",
                "/static//etc/passwd",
            ):
                assert (await client.get(path)).status_code == 404

    on(play)
