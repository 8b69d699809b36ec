"""Attacks from another site: changes that somebody signed in is made to ask for without knowing."""

import json
import re

import pytest
from administration import filled, routes, staff
from attacker import assert_error, playing
from web_site import Site

from pickapic.collect.tables import METADATA, duels, users
from pickapic.web.security import MACHINE_PATHS

pytestmark = pytest.mark.slow

ON_BOTH_DATABASES = True


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


def changes(site: Site) -> list[tuple[str, str]]:
    """Every (method, path) of the site that changes something, forms and administration among them."""
    found = {
        (method.upper(), path)
        for path, calls in site.app.openapi()["paths"].items()
        for method in calls
        if method not in ("get", "head", "options")
    }
    found |= {(method, path) for method, path in routes() if method != "GET"}
    found |= {
        ("POST", path)
        for path in ("/sign-out", "/language", "/terms", "/me/delete", "/gallery/x/remove", "/i/x/report")
    }
    return sorted((method, re.sub(r"\{\w+\}", "x", filled(path))) for method, path in found)


def test_there_is_no_change_without_the_token_of_this_session(on):
    """Whoever is lured to another site while signed in, even as an admin, changes nothing here."""

    async def play(site):
        admin, other = await staff(site, "admin"), await site.person()
        foreign = other.client.cookies["csrf"]
        before = await contents(site)
        every = changes(site)
        assert len(every) > 25
        for method, path in every:
            for token in (None, "", "x", foreign, "x" * 87):
                # Where machines come with a token, no session counts, forged or not.
                status = 401 if path.startswith(MACHINE_PATHS) else 403
                headers = {} if token is None else {"X-CSRF-Token": token}
                reply = await admin.client.request(method, path, headers=headers)
                assert reply.status_code == status, (method, path, token, reply.status_code)
                form = {"csrf": token} if token is not None else {"a": "b"}
                reply = await admin.client.request(method, path, data=form, headers={"Accept": "text/html"})
                assert reply.status_code == status, (method, path, token, reply.status_code)
        assert await contents(site) == before

    on(play)


def test_a_planted_token_does_not_help(on):
    """Somebody who can set cookies, from a sibling domain, plants a token together with its cookie."""

    async def play(site):
        admin, other = await staff(site, "admin"), await site.person()
        planted = other.client.cookies["csrf"]
        cookie = (
            f"csrf={planted}; session={admin.client.cookies['session']}; csrf={admin.client.cookies['csrf']}"
        )
        before = await contents(site)
        async with site.client() as client:
            for method, path in changes(site):
                reply = await client.request(
                    method, path, headers={"Cookie": cookie, "X-CSRF-Token": planted}
                )
                assert reply.status_code == (401 if path.startswith(MACHINE_PATHS) else 403), (method, path)
        assert await contents(site) == before

    on(play)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://test.evil.example"},
        {"Origin": "http://test:81"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
    ids=str,
)
def test_even_with_the_token_another_site_changes_nothing(on, headers):
    async def play(site):
        person, _ = await playing(site)
        before = await contents(site)
        for method, path in changes(site):
            reply = await person.client.request(method, path, headers={**person.csrf(), **headers})
            assert reply.status_code == 403, (method, path)
        assert await contents(site) == before

    on(play)


async def contents(site):
    """Return every row that a person could have changed; not when somebody was last seen."""
    names = ("users", "duels", "rounds", "reports", "shares", "decisions", "consents", "gold_pairs")
    return {name: await site.rows(METADATA.tables[name]) for name in names}


def test_nothing_changes_by_get(on):
    async def play(site):
        person, duel = await playing(site)
        before = await contents(site)
        round_id, duel_id = duel["round"]["round_id"], duel["duel_id"]
        for path in (
            "/auth/sign-out",
            "/sign-out",
            "/logout",
            f"/api/v1/rounds/{round_id}/pick?pick=left",
            f"/api/v1/rounds/{round_id}/skip",
            f"/api/v1/duels/{duel_id}?_method=DELETE",
            "/api/v1/me?_method=DELETE",
            "/me/delete?word=delete",
        ):
            reply = await person.get(path, headers={"X-HTTP-Method-Override": "DELETE"})
            assert reply.status_code < 500
        assert (await person.get("/api/v1/me")).status_code == 200
        assert await contents(site) == before

    on(play)


def test_json_cannot_be_sent_as_a_form_of_another_site(on):
    """A form can send text/plain that reads as JSON, without asking first; no such body is read as JSON."""

    async def play(site):
        person = await site.person()
        text = json.dumps({"prompt": "a cat"})
        for kind in (
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "",
        ):
            headers = {**person.csrf(), "Content-Type": kind}
            reply = await person.client.post("/api/v1/duels", content=text, headers=headers)
            assert reply.status_code == 422, (kind, reply.status_code)
        assert await site.rows(duels) == []
        assert await site.rows(users) != []

    on(play)
