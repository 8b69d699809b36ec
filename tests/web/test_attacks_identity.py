"""Attacks on who one is: forged, planted, stolen and ended sessions, claimed users and roles."""

import pytest
from attacker import assert_error, playing
from sqlalchemy import select
from web_site import Person, Site

from pickapic.collect.people import bans
from pickapic.collect.tables import METADATA, duels, rounds, sessions, users
from pickapic.settings import load_settings
from pickapic.web.service import now

pytestmark = pytest.mark.slow

ON_BOTH_DATABASES = True


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


@pytest.mark.parametrize(
    "claim",
    [
        {"params": {"user_id": "1"}},
        {"headers": {"X-User-Id": "1"}},
        {"headers": {"X-Forwarded-User": "1", "Remote-User": "1"}},
        {"headers": {"Authorization": "Bearer 1"}},
        {"headers": {"Authorization": "Basic MTox"}},
    ],
    ids=str,
)
def test_a_user_cannot_be_claimed_beside_the_session(on, claim):
    async def play(site):
        victim, duel = await playing(site)
        thief = await site.person()
        assert victim.user_id == 1
        headers = {**thief.csrf(), **claim.get("headers", {})}
        given = {"headers": headers, "params": claim.get("params", {})}
        assert (await thief.get("/api/v1/me", **given)).json()["user_id"] == thief.user_id
        assert_error(await thief.get(f"/api/v1/duels/{duel['duel_id']}", **given), 404)
        reply = await thief.client.post("/api/v1/duels", json={"prompt": "mine"}, **given)
        assert reply.status_code == 201
        assert [row.user_id for row in await site.rows(duels)] == [victim.user_id, thief.user_id]
        async with site.client() as stranger:
            given["headers"].pop("X-CSRF-Token")
            assert_error(await stranger.get("/api/v1/me", **given), 401)

    on(play)


def test_a_user_in_a_cookie_of_ones_own_making_is_nobody(on):
    async def play(site):
        victim, _ = await playing(site)
        async with site.client() as thief:
            for cookie in (
                "user_id=1",
                "session=1",
                "session=user:1; user=1",
                'session="1"',
                "session=;csrf=x",
            ):
                assert_error(await thief.get("/api/v1/me", headers={"Cookie": cookie}), 401)
        # Of two cookies of one name the first counts: what a sibling domain plants comes later, or signs out.
        own, other = victim.client.cookies["session"], (await site.person()).client.cookies["session"]
        async with site.client() as client:
            both = {"Cookie": f"session={own}; session={other}"}
            assert (await client.get("/api/v1/me", headers=both)).json()["user_id"] == victim.user_id

    on(play)


def test_a_role_cannot_be_claimed(on):
    async def play(site):
        person = await site.person()
        for method, path, body in (
            ("POST", "/api/v1/me/consent", {"version": "1", "role": "admin"}),
            ("POST", "/auth/guest", {"role": "admin", "kind": "account"}),
            ("POST", "/auth/guest?role=admin", None),
        ):
            await person.client.request(method, path, json=body, headers=person.csrf())
        for path in ("/admin", "/admin/users", "/admin/tables/"):
            headers = {"X-Role": "admin", "Cookie": f"session={person.client.cookies['session']}; role=admin"}
            reply = await person.get(path, headers=headers)
            assert reply.status_code in (403, 404), (path, reply.status_code)
        assert {row.role for row in await site.rows(users)} == {"person"}

    on(play)


def test_a_session_that_was_fixed_before_signing_in_is_worth_nothing_after(on):
    """A thief gives the victim a session of the thief's making, or a real one of their own, and waits."""

    async def play(site):
        thief = await site.person()
        fixed = thief.client.cookies["session"]
        async with site.client() as client:
            victim = Person(client)
            for name, value in dict(thief.client.cookies).items():
                client.cookies.set(name, value, domain="test.local")  # as the jar calls this host
            # The victim signs in on top of it, and is still the thief's; signs out, and in again.
            assert (await victim.post("/auth/guest")).status_code in (200, 201)
            assert (await victim.post("/auth/sign-out")).status_code == 204
            await victim.get("/api/v1/me")
            again = await victim.post("/auth/guest")
            assert again.status_code == 201
            assert client.cookies["session"] != fixed
            assert again.json()["user_id"] != thief.user_id
        assert_error(await thief.get("/api/v1/me"), 401)

    on(play)


@pytest.mark.parametrize("way", ["sign-out", "everywhere", "forget me", "ban"])
def test_a_stolen_cookie_is_worth_nothing_after(on, way):
    async def play(site):
        person, duel = await playing(site)
        loot = dict(person.client.cookies)
        async with site.client() as thief:
            thief.cookies.update(loot)
            # The thief is known to the server, and remembered by it, until then.
            assert (await thief.get("/api/v1/me")).status_code == 200
            if way == "sign-out":
                assert (await person.post("/auth/sign-out")).status_code == 204
            elif way == "everywhere":
                assert (await person.delete("/api/v1/me/sessions")).status_code == 204
            elif way == "forget me":
                assert (await person.delete("/api/v1/me")).status_code == 204
            else:
                await site.service.database.write(bans.ban, None, person.user_id, "for a test", now())
                site.service.forget_user(person.user_id)
            path = f"/api/v1/rounds/{duel['round']['round_id']}/pick"
            headers = {"X-CSRF-Token": loot["csrf"]}
            reply = await thief.post(path, json={"pick": "left"}, headers=headers)
            assert_error(reply, 403 if way == "ban" else 401)
            if way != "ban":
                assert_error(await thief.get("/api/v1/me"), 401)
                assert_error(await thief.get(duel["round"]["images"][0]["url"]), 401)
                assert_error(await thief.get(f"/api/v1/duels/{duel['duel_id']}"), 401)
        assert "answered" not in {row.state for row in await site.rows(rounds)}

    on(play)


def test_only_the_hash_of_a_session_is_stored(on):
    async def play(site):
        person = await site.person()
        token = person.client.cookies["session"]

        def everything(connection):
            return str([connection.execute(select(table)).all() for table in METADATA.sorted_tables])

        stored = await site.service.database.read(everything)
        assert token not in stored
        assert token.encode().hex() not in stored

    on(play)
