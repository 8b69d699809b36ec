"""Attacks by addresses and headers: paths to other files, redirects, injected headers, cookies, hosts."""

from urllib.parse import quote, unquote

import pytest
from administration import staff
from attacker import playing

pytestmark = pytest.mark.slow

ON_BOTH_DATABASES = True


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
