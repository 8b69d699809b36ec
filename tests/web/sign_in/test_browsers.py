"""Signed-in browsers: tokens that are renewed, lists, signing out here and elsewhere, cookies."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from web_site import Site

from live_site import LiveSite, Visitor, sign_in
from pickapic.collect.tables import sessions
from pickapic.settings import load_settings

pytestmark = pytest.mark.slow

SECRET = "Qz7-kWv2_pLm9XtR4sBn8YhC3dFg6JaE"


@pytest.fixture
def rotating(databases, tmp_path):
    """A site where every token is too old as soon as it is there."""
    home = tmp_path / "home"
    url = databases.migrated("sqlite", home)
    with LiveSite(home=home, database_url=url, session_rotate_hours=1e-9) as site:
        yield site


def test_a_token_is_renewed_and_the_old_one_dies_a_minute_later(rotating):
    with Visitor(rotating) as ada, Visitor(rotating) as thief:
        user = ada.guest()
        old, csrf = ada.client.cookies["session"], ada.client.cookies["csrf"]
        assert ada.me()["user_id"] == user
        new = ada.client.cookies["session"]
        assert new != old
        assert ada.client.cookies["csrf"] == csrf, "requests that are being put together go on fitting"
        thief.client.cookies.set("session", old, domain="127.0.0.1")
        assert thief.me()["user_id"] == user, "the new one has not been used yet"
        assert ada.me()["user_id"] == user
        (row,) = [row for row in rotating.rows(sessions) if row.replaced_at is not None]
        assert (row.expires_at - row.replaced_at).total_seconds() == 60
        assert ada.post("/api/v1/duels", {"prompt": "a cat"}).status_code == 201
        # Signing out takes all tokens of the browser with it.
        assert ada.post("/auth/sign-out").status_code == 204
        assert (ada.me(), thief.me()) == (None, None)
        assert rotating.rows(sessions) == []


def test_requests_at_once_do_not_sign_anybody_out(rotating):
    with Visitor(rotating) as ada:
        user = ada.guest()
        cookies = dict(ada.client.cookies)

        def ask(_: int) -> tuple[int, str | None]:
            with httpx.Client(base_url=rotating.address, cookies=cookies) as client:
                reply = client.get("/api/v1/me")
                return reply.json().get("user_id"), reply.cookies.get("session")

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(ask, range(24)))
        assert {one for one, _ in answers} == {user}
        offered = {token for _, token in answers if token}
        assert len(offered) == 1
        ada.client.cookies.set("session", offered.pop(), domain="127.0.0.1")
        assert ada.me()["user_id"] == user


def test_images_and_static_files_renew_nothing(rotating):
    with Visitor(rotating) as ada:
        ada.guest()
        assert "set-cookie" not in ada.get("/static/page.css").headers
        assert "set-cookie" not in ada.get("/api/v1/images/none").headers


def test_ones_browsers_and_signing_them_out(site, providers, ada, stranger):
    sign_in(ada, providers)
    sign_in(stranger, providers)
    found = ada.get("/api/v1/me/sessions").json()["sessions"]
    assert {(one["label"], one["this"]) for one in found} == {("Firefox on Linux", True), ("curl", False)}
    other = next(one["uid"] for one in found if not one["this"])
    with Visitor(site) as somebody:
        somebody.guest()
        assert somebody.delete(f"/api/v1/me/sessions/{other}").status_code == 404
    assert ada.delete(f"/api/v1/me/sessions/{other}").status_code == 204
    assert stranger.me() is None
    assert ada.me() is not None
    sign_in(stranger, providers)
    assert ada.delete("/api/v1/me/sessions").status_code == 204
    assert (ada.me(), stranger.me()) == (None, None)
    sign_in(ada, providers)
    (mine,) = ada.get("/api/v1/me/sessions").json()["sessions"]
    assert ada.delete(f"/api/v1/me/sessions/{mine['uid']}").status_code == 204
    assert ada.me() is None
    assert "session" not in ada.client.cookies


def test_the_same_by_plain_forms(site, providers, ada, stranger):
    sign_in(ada, providers)
    sign_in(stranger, providers)
    (other,) = [one for one in ada.get("/api/v1/me/sessions").json()["sessions"] if not one["this"]]
    for _ in range(2):
        reply = ada.submit(f"/me/sessions/{other['uid']}/sign-out")
        assert (reply.status_code, reply.headers["location"]) == (303, "/me")
    assert stranger.me() is None
    assert ada.submit("/me/sign-out-everywhere").headers["location"] == "/"
    assert ada.me() is None


def test_signing_out_is_a_post_with_a_token(site, ada):
    ada.guest()
    for path in ("/auth/sign-out", "/sign-out"):
        assert ada.get(path).status_code in (404, 405)
        assert ada.client.post(path).status_code == 403
    assert ada.me() is not None
    stolen = dict(ada.client.cookies)
    assert ada.post("/auth/sign-out").status_code == 204
    with httpx.Client(base_url=site.address, cookies=stolen) as thief:
        assert thief.get("/api/v1/me").status_code == 401
        reply = thief.post("/api/v1/duels", json={"prompt": "x"}, headers={"x-csrf-token": stolen["csrf"]})
        assert reply.status_code == 401


def test_a_sign_out_elsewhere_is_noticed_within_two_seconds(databases, tmp_path, monkeypatch):
    home = tmp_path / "home"
    shared = {"home": home, "database_url": databases.migrated("sqlite", home)}
    monkeypatch.setattr("pickapic.web.service.SESSION_SECONDS", 0.3)
    with LiveSite(**shared) as one, LiveSite(**shared) as other, Visitor(one) as ada, Visitor(other) as same:
        ada.guest()
        same.client.cookies.update(dict(ada.client.cookies))
        assert same.me() is not None
        ada.post("/auth/sign-out")
        for _ in range(300):
            if same.me() is None:
                break
            other.run(asyncio.sleep(0.05))
        assert same.me() is None


def flags(reply: httpx.Response) -> dict[str, set[str]]:
    cookies = {}
    for value in reply.headers.get_list("set-cookie"):
        name, *rest = value.split("; ")
        cookies[name.partition("=")[0]] = {part for part in rest if not part.startswith("Max-Age")}
    return cookies


@pytest.mark.parametrize("how", ["by its setting", "by its proxy"])
def test_cookies_over_https_are_secure_and_bound_to_this_host(databases, tmp_path, on, how):
    home = tmp_path / "https"
    url = "https://pick.example.org" if how == "by its setting" else ""
    settings = load_settings(home=home, database_url=databases.migrated("sqlite", home), public_url=url)

    async def play(site):
        transport = httpx.ASGITransport(site.app)
        base = url or "https://test"
        async with httpx.AsyncClient(transport=transport, base_url=base) as client:
            reply = await client.get("/")
            assert reply.headers["strict-transport-security"] == "max-age=31536000"
            assert flags(reply) == {"csrf": {"Path=/", "SameSite=Lax", "Secure"}}
            reply = await client.post("/auth/guest", headers={"x-csrf-token": client.cookies["csrf"]})
            strict = {"Path=/", "SameSite=Lax", "Secure", "HttpOnly"}
            found = flags(reply)
            assert found.pop("csrf") == strict - {"HttpOnly"}
            assert found == {"__Host-session": strict, "__Host-device": strict}
            # A cookie that another host of the domain, or a page without TLS, could plant is not looked at.
            token = client.cookies["__Host-session"]
            client.cookies.clear()
            planted = await client.get("/api/v1/me", headers={"cookie": f"session={token}"})
            assert planted.status_code == 401
            good = await client.get("/api/v1/me", headers={"cookie": f"__Host-session={token}"})
            assert good.status_code == 200

    on(play, Site(settings))


def test_without_tls_cookies_are_as_strict_as_can_be(site, ada):
    ada.get("/")
    reply = ada.post("/auth/guest")
    assert flags(reply) == {
        "session": {"Path=/", "SameSite=Lax", "HttpOnly"},
        "device": {"Path=/", "SameSite=Lax", "HttpOnly"},
        "csrf": {"Path=/", "SameSite=Lax"},
    }
    assert "strict-transport-security" not in reply.headers


@pytest.fixture
def production(databases, tmp_path):
    home = tmp_path / "production"
    return load_settings(
        home=home,
        database_url=databases.migrated("sqlite", home),
        environment="production",
        secret_key=SECRET,
        public_url="https://pick.example.org",
        allow_guests=True,
    )


def test_in_production_only_the_public_name_is_answered_and_only_its_pages_may_change_anything(
    production, on
):
    async def play(site):
        transport = httpx.ASGITransport(site.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=production.public_url) as client:
            for host in ("evil.example", "pick.example.org.evil.example", "pick.example.org:444", ""):
                reply = await client.get("/sign-in", headers={"host": host})
                assert (reply.status_code, reply.json()["error"]["code"]) == (421, "misdirected")
            assert (await client.get("/healthz", headers={"host": "10.0.0.7:8000"})).status_code == 200
            await client.get("/")
            csrf = {"x-csrf-token": client.cookies["csrf"]}
            for elsewhere in (
                {"origin": "https://evil.example"},
                {"origin": "http://pick.example.org"},
                {"origin": "https://pick.example.org:444"},
                {"origin": "null"},
                {"origin": ""},
                {"origin": "http://["},
                {"sec-fetch-site": "cross-site"},
                {"sec-fetch-site": "same-site"},
                {"origin": "https://pick.example.org", "sec-fetch-site": "cross-site"},
            ):
                reply = await client.post("/auth/guest", headers={**csrf, **elsewhere})
                assert (reply.status_code, reply.json()["error"]["code"]) == (403, "origin"), elsewhere
            own = {"origin": "https://pick.example.org", "sec-fetch-site": "same-origin"}
            assert (await client.post("/auth/guest", headers={**csrf, **own})).status_code == 201

    on(play, Site(production))


def test_a_page_on_another_port_may_change_nothing(site, ada):
    ada.get("/")
    for origin in ("http://127.0.0.1:1", "http://localhost", "null"):
        reply = ada.client.post("/auth/guest", headers={**ada.csrf(), "origin": origin})
        assert reply.status_code == 403
    assert ada.client.post("/auth/guest", headers={**ada.csrf(), "origin": site.address}).status_code == 201
