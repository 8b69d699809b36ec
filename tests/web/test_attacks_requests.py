"""Attacks by the request itself: CSRF, bodies, headers, cookies, addresses."""

import gzip
import json
import re
import zlib
from urllib.parse import quote, unquote

import pytest
from administration import filled, routes, staff
from attacker import assert_error, playing
from web_site import Site

from pickapic.collect.tables import METADATA, duels, jobs, rounds, users
from pickapic.settings import load_settings

ON_BOTH_DATABASES = True


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


def test_too_many_prompts_are_told_when_to_come_back(tmp_path, on):
    async def play(site):
        person = await site.person()
        await person.start()
        reply = await person.post("/api/v1/duels", {"prompt": "one more"})
        assert_error(reply, 429)
        assert 1 <= int(reply.headers["retry-after"]) <= 61
        assert len(await site.rows(duels)) == 1

    on(play, Site(load_settings(home=tmp_path / "strict", prompts_per_minute=1)))


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
                headers = {} if token is None else {"X-CSRF-Token": token}
                reply = await admin.client.request(method, path, headers=headers)
                assert reply.status_code == 403, (method, path, token, reply.status_code)
                form = {"csrf": token} if token is not None else {"a": "b"}
                reply = await admin.client.request(method, path, data=form, headers={"Accept": "text/html"})
                assert reply.status_code == 403, (method, path, token, reply.status_code)
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
                assert reply.status_code == 403, (method, path)
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


def packed(size: int) -> bytes:
    return gzip.compress(b" " * size)


@pytest.mark.parametrize(
    ("content", "headers"),
    [
        (packed(50_000_000), {"Content-Encoding": "gzip"}),
        (zlib.compress(b" " * 50_000_000), {"Content-Encoding": "deflate"}),
        (packed(50_000_000), {"Content-Encoding": "br"}),
        (packed(50_000_000), {"Content-Type": "application/zip"}),
    ],
    ids=["gzip", "deflate", "brotli", "zip"],
)
def test_a_compressed_body_is_never_unpacked(on, content, headers):
    async def play(site):
        person = await site.person()
        given = {**person.csrf(), "Content-Type": "application/json", **headers}
        for path in ("/api/v1/duels", "/api/v1/score", "/language"):
            reply = await person.client.post(path, content=content, headers=given)
            assert reply.status_code in (413, 415, 422), (path, reply.text)
        assert await site.rows(duels) == []

    on(play)


@pytest.mark.parametrize(
    "length", ["99999999999999999999", "-1", "1e3", "0x10", "1,1", "", " ", "65537", "²"]
)
def test_a_body_whose_length_lies_is_refused(on, length):
    async def play(site):
        person = await site.person()
        headers = {**person.csrf(), "Content-Type": "application/json", "Content-Length": length.encode()}

        async def content():
            yield b'{"prompt": "a cat"}'

        reply = await person.client.post("/api/v1/duels", content=content(), headers=headers)
        assert_error(reply, 413)
        assert await site.rows(duels) == []

    on(play)


def nested(depth: int) -> bytes:
    return b'{"prompt": ' + b"[" * depth + b"]" * depth + b"}"


@pytest.mark.parametrize("depth", [10, 1_000, 30_000])
def test_deep_nesting_is_refused(on, depth):
    async def play(site):
        person = await site.person()
        headers = {**person.csrf(), "Content-Type": "application/json"}
        for path in ("/api/v1/duels", "/api/v1/score", "/api/v1/me/consent"):
            assert_error(await person.client.post(path, content=nested(depth), headers=headers), 422)
        deep = b'{"a":' * depth + b"1" + b"}" * depth
        assert_error(await person.client.post("/api/v1/duels", content=deep[:65_000], headers=headers), 422)

    on(play)


@pytest.mark.parametrize(
    "number", ["1" * 5000, "1e999", "-1e999", "NaN", "Infinity", "9" * 400, "0." + "0" * 4000 + "1"]
)
def test_absurd_numbers_are_refused(on, number):
    async def play(site):
        person, duel = await playing(site)
        headers = {**person.csrf(), "Content-Type": "application/json"}
        body = f'{{"pick": {number}}}'.encode()
        path = f"/api/v1/rounds/{duel['round']['round_id']}/pick"
        assert_error(await person.client.post(path, content=body, headers=headers), 422)
        assert_error(await person.post(f"{path}?wait={number}", {"pick": "left"}), 422)
        assert (await site.rows(rounds))[0].state == "open"

    on(play)


TEXTS = {
    "emoji with joiners": "👩‍👩‍👧‍👦 in a park",
    "combining marks": "a" + "\u0301" * 200 + " cat",
    "right to left override": "a \u202egnp.tac\u202c cat",
    "isolates left open": "\u2066\u2066\u2066 cat",
    "astral letters": "𝔞 𝔠𝔞𝔱 𓃠",
    "no characters yet": "\ue000 \U0010fffd cat",
    "not a character": "\ufffe\uffff cat",
    "byte order mark": "\ufeffa cat",
    "line separators": "a\u2028cat\u2029sat",
    "apostrophes": "it's a 'cat' \"here\" `now`",
    "percent and braces": "100% {0} %s %(a)s ${x} #{y} {{7*7}} {% raw %}",
}


@pytest.mark.parametrize("prompt", TEXTS.values(), ids=TEXTS.keys())
def test_absurd_unicode_is_kept_as_it_is_or_refused(on, prompt):
    async def play(site):
        person = await site.person()
        reply = await person.post("/api/v1/duels", {"prompt": prompt})
        if reply.status_code == 201:
            assert reply.json()["prompt"] == prompt
            assert (await person.read(reply.json()))["prompt"] == prompt
            assert [row.typed for row in await site.rows(duels)] == [prompt]
        else:
            assert_error(reply, 422)
            assert await site.rows(jobs) == []
        page = await person.get("/gallery", headers={"Accept": "text/html"})
        assert page.status_code == 200
        assert "49" not in page.text or "{{7*7}}" not in prompt

    on(play)


CONTROL = {
    "crlf": "%0d%0aSet-Cookie:%20a=b",
    "lf": "%0aX-Injected:%201",
    "cr": "%0dX: 1",
    "unit": "%1f",
    "nel": "%c2%85",
}


@pytest.mark.parametrize("bad", CONTROL.values(), ids=CONTROL.keys())
def test_no_header_can_be_injected(on, bad):
    async def play(site):
        person = await site.person()
        for path in (
            f"/sign-in?next=/{bad}",
            f"/auth/{bad}",
            f"/i/{bad}",
            f"/api/v1/images/{bad}/download",
            f"/static/{bad}",
            f"/link/{bad}",
        ):
            reply = await person.get(path)
            assert reply.status_code < 500, path
            assert_clean(reply)
        for form in (
            {"language": "en", "next": f"/x{unquote(bad)}"},
            {"language": unquote(bad), "next": "/"},
        ):
            data = {**form, "csrf": person.client.cookies["csrf"]}
            assert_clean(await person.client.post("/language", data=data))

    on(play)


def assert_clean(reply):
    for name, value in reply.headers.multi_items():
        assert name.lower() not in ("x-injected", "x"), (name, value)
        assert "\r" not in value
        assert "\n" not in value
        assert not (name.lower() == "set-cookie" and value.startswith("a=b"))


@pytest.mark.parametrize(
    "away",
    [
        "https://evil.example",
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "javascript:alert(1)",
        "data:text/html,x",
        "https:evil.example",
        "/%09/evil.example",
        " https://evil.example",
        "@evil.example",
        "http://test@evil.example/",
        "/\u2028/evil.example",
    ],
)
def test_no_redirect_leads_away(on, away):
    async def play(site):
        person = await site.person()
        csrf = person.client.cookies["csrf"]
        replies = [
            await person.client.post("/language", data={"language": "en", "next": away, "csrf": csrf}),
            await person.get(f"/sign-in?next={quote(away)}"),
            await person.client.post("/sign-in/guest", data={"next": away, "csrf": csrf}),
            await person.client.post("/terms", data={"version": "1", "next": away, "csrf": csrf}),
            await person.get(f"//evil.example/{quote(away)}"),
        ]
        for reply in replies:
            assert reply.status_code < 500
            where = reply.headers.get("location", "/")
            assert where.startswith("/"), where
            assert not where.startswith(("//", "/\\")), where
            assert "evil.example" not in where.partition("?")[0].partition("#")[0] or where == "/evil.example"

    on(play)


def test_addresses_do_not_lead_to_other_files(on, tmp_path):
    """Static files, images, shared pages, exports: a name is a name, never a path."""

    async def play(site):
        admin, duel = await staff(site, "admin"), None
        person, duel = await playing(site)
        secret = (site.settings.home / "secret_key").read_text().strip()
        outs = (
            "../",
            "..%2f",
            "%2e%2e/",
            "%2e%2e%2f",
            "..%5c",
            "..\\",
            "%252e%252e%252f",
            "....//",
            "%c0%ae%c0%ae/",
        )
        targets = ("secret_key", "pickapic.db", "etc/passwd", "proc/self/environ", "app.py")
        for who in (admin, person):
            for out in outs:
                for target in targets:
                    for path in (
                        f"/static/{out}{target}",
                        f"/static/{out * 6}{target}",
                        f"/api/v1/images/{out}{target}",
                        f"/i/{out}{target}",
                        f"/i/{out}{target}.jpg",
                        f"/admin/exports/{out}{target}.zip",
                        f"/admin/images/{out}{target}",
                        f"/admin/gold/{out}{target}/better",
                    ):
                        reply = await who.get(path)
                        assert reply.status_code in (303, 401, 403, 404, 405, 422), (path, reply.status_code)
                        assert secret not in reply.text
                        assert "root:" not in reply.text
        url = duel["round"]["images"][0]["url"]
        assert (await person.get(url)).status_code == 200

    on(play)


@pytest.mark.parametrize(
    "cookie",
    [
        "; ".join(f"c{n}={'x' * 60}" for n in range(120)),
        "session=" + "A" * 7_900,
        "csrf=" + "A" * 7_900,
        "=" * 4_000,
        ";" * 8_000,
        "session",
        "session=A; " * 700,
        "\x00=\x01; session=\x7f",
        "é=ü; session=日本",
        "language=../../../etc/passwd; language=" + "x" * 3_000,
    ],
    ids=[
        "many",
        "long session",
        "long csrf",
        "equals",
        "semicolons",
        "nameless",
        "repeated",
        "control",
        "utf-8",
        "language",
    ],
)
def test_a_bomb_of_cookies_is_nobody_and_breaks_nothing(on, cookie):
    async def play(site):
        async with site.client() as client:
            raw = cookie.encode("utf-8")
            for path in ("/", "/api/v1/me", "/healthz", "/leaderboard"):
                reply = await client.get(path, headers={b"Cookie": raw})
                assert reply.status_code in (200, 400, 401), (path, reply.status_code)
                # What came in does not go out again, and cannot grow.
                assert sum(len(value) for value in reply.headers.values()) < 4_000
            reply = await client.post("/auth/guest", headers={b"Cookie": raw})
            assert reply.status_code == 403

    on(play)


def test_a_forged_host_makes_no_address(on):
    """What a page or a mail would link to is the setting's, or at least nobody else's."""

    async def play(site):
        async with site.client() as client:
            for host in ("evil.example", "test:80@evil.example", "evil.example#", "evil example", "<b>"):
                reply = await client.get("/", headers={"Host": host, "X-Forwarded-Host": "evil.example"})
                assert reply.status_code in (200, 400, 421)
                assert "evil.example" not in reply.text
                assert "evil.example" not in str(reply.headers)

    on(play)


def test_every_refusal_carries_the_headers_of_a_page(on):
    async def play(site):
        person = await site.person()
        for reply in (
            await person.get("/nothing"),
            await person.client.post("/api/v1/duels"),
            await person.post("/api/v1/duels", {"prompt": ""}),
            await person.get("/api/v1/duels/x"),
            await person.client.post("/api/v1/duels", content=b"x" * 70_000, headers=person.csrf()),
        ):
            assert reply.status_code >= 400
            assert reply.headers["x-content-type-options"] == "nosniff"
            assert "script-src 'self'" in reply.headers["content-security-policy"]
            assert "unsafe" not in reply.headers["content-security-policy"]
            assert reply.headers["x-frame-options"] == "DENY"

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
