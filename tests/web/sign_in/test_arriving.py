"""Who is let in by a provider, with which state, and where that leads."""

from __future__ import annotations

import re

import pytest

from live_site import Visitor, assert_not_let_in, query_of, sign_in
from pickapic.collect.people import sign_ins
from pickapic.collect.tables import marks, sessions, users
from pickapic.web.sign_in.paths import local_path
from providers import CLIENT_SECRET

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("name", "who"), [("acme", "ada"), ("discord", "ada-on-discord")])
def test_signing_in_makes_an_account_and_comes_back_to_it(site, providers, ada, stranger, name, who):
    reply = sign_in(ada, providers, name, who)
    assert (reply.status_code, reply.headers["location"]) == (303, "/gallery")
    assert reply.headers["cache-control"] == "no-store"
    user = ada.me()["user_id"]
    sign_in(stranger, providers, name, who)
    assert stranger.me()["user_id"] == user
    assert len(site.rows(sessions)) == 2
    assert [(row.kind, row.role) for row in site.rows(users)] == [("account", "person")]
    assert ada.get("/auth/providers").json() == {
        "providers": [
            {"name": "acme", "label": "Acme & Sons", "url": "/auth/acme"},
            {"name": "discord", "label": "Discord", "url": "/auth/discord"},
        ],
        "guests": True,
        "free_prompt": site.settings.free_prompt,
    }


def test_what_goes_to_the_provider(site, ada):
    asked = query_of(ada.depart("acme"))
    assert asked["redirect_uri"] == f"{site.address}/auth/acme/callback"
    assert (asked["scope"], asked["code_challenge_method"]) == ("openid email", "S256")
    assert min(len(asked[name]) for name in ("state", "nonce", "code_challenge")) >= 43
    assert query_of(ada.depart("discord"))["scope"] == "identify email"
    again = query_of(ada.depart("acme"))
    assert not {again[name] for name in ("state", "nonce", "code_challenge")} & set(asked.values())
    # Who is asked to sign in at another address than ours would hand their code to somebody else.
    forged = ada.get("/auth/acme", headers={"host": "evil.example", "x-forwarded-host": "evil.example"})
    assert query_of(forged.headers["location"])["redirect_uri"].startswith(site.address)


def test_the_secret_and_the_tokens_are_never_stored(site, providers, ada):
    sign_in(ada, providers, "discord", "ada-on-discord")
    files = [path for path in site.settings.home.rglob("*") if path.is_file() and path.name != "secret_key"]
    stored = b"".join(path.read_bytes() for path in files)
    assert b"ada" not in stored.lower().replace(b"adaptive", b"")
    for token in (
        *providers.tokens,
        CLIENT_SECRET,
        ada.client.cookies["session"],
        ada.client.cookies["device"],
    ):
        assert token.encode() not in stored


def test_a_wrong_or_missing_state_is_refused(site, providers, ada):
    given = providers.grant(ada.depart("acme"), "ada")
    for state in ("", "x", given["state"][:-1] + "x", "é" * 30, "x" * 5000):
        assert_not_let_in(ada, ada.come_back("acme", {**given, "state": state}), 400, "not begun in this")
    assert_not_let_in(ada, ada.get("/auth/acme/callback"), 400)
    # The right one still works: nobody can use it up by guessing.
    assert ada.come_back("acme", given).status_code == 303


def test_a_state_works_once(site, providers, ada):
    given = providers.grant(ada.depart("acme"), "ada")
    assert ada.come_back("acme", given).status_code == 303
    ada.post("/auth/sign-out")
    reply = ada.come_back("acme", given)
    assert (reply.status_code, ada.me()) == (400, None)


def test_a_state_of_another_browser_signs_nobody_in(site, providers, ada, stranger):
    stranger.depart("acme")
    given = providers.grant(stranger.depart("acme"), "ada")
    ada.depart("acme")
    assert_not_let_in(ada, ada.come_back("acme", given), 400)
    # Nor does one of another provider.
    given = providers.grant(ada.depart("acme"), "ada")
    assert_not_let_in(ada, ada.come_back("discord", given), 400)


def test_two_tabs_may_sign_in_at_once(site, providers, ada):
    first, second = (providers.grant(ada.depart("acme"), "ada") for _ in range(2))
    assert ada.come_back("acme", first).status_code == 303
    assert ada.come_back("acme", second).status_code == 303
    assert len(site.rows(sessions)) == 1


def test_a_sign_in_that_took_too_long_is_refused(site, providers, ada, monkeypatch):
    monkeypatch.setattr(sign_ins, "LASTS", -sign_ins.LASTS)
    given = providers.grant(ada.depart("acme"), "ada")
    assert_not_let_in(ada, ada.come_back("acme", given), 400, "too long ago")


AWAY = (
    "//evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "https://evil.example",
    "https:evil.example",
    "javascript:alert(1)",
    "/\t/evil.example",
    "/\n/evil.example",
    "\t//evil.example",
    " //evil.example",
    "///evil.example",
    "/%0d%0aSet-Cookie:x=1\r\nx: y",
    "evil.example",
    "@evil.example",
    ".evil.example",
    "",
    "/auth/acme",
    "/é",
    "/" + "x" * 3000,
)


@pytest.mark.parametrize("wish", AWAY)
def test_what_is_no_path_of_this_server_leads_to_the_start(wish):
    assert local_path(wish) == "/"


@pytest.mark.parametrize(
    "wish", ["/", "/me", "/gallery?page=2&x=%2F#last", "/link/abc", "/%2f%2fevil.example"]
)
def test_a_path_of_this_server_is_kept(wish):
    assert local_path(wish) == wish


def test_signing_in_never_leads_away(site, providers, ada):
    for wish in AWAY[:6]:
        reply = ada.come_back("acme", providers.grant(ada.depart("acme", wish), "ada"))
        assert (reply.status_code, reply.headers["location"]) == (303, "/")
        ada.post("/auth/sign-out")
        page = ada.get("/sign-in", params={"next": wish})
        assert "evil" not in "".join(re.findall(r'href="[^"]*"', page.text))
        assert ada.submit("/sign-in/guest", next=wish).headers["location"] == "/"
        ada.post("/auth/sign-out")
    reply = ada.come_back("acme", providers.grant(ada.depart("acme", "/gallery?page=2#last"), "ada"))
    assert reply.headers["location"] == "/gallery?page=2#last"


def test_another_site_cannot_send_somebody_off_to_sign_in(site, ada):
    reply = ada.get("/auth/acme?next=/me", headers={"sec-fetch-site": "cross-site"})
    assert (reply.status_code, reply.headers["location"]) == (303, "/sign-in?next=%2Fme")


def test_a_session_that_was_planted_is_not_the_one_that_is_signed_in(site, providers, stranger):
    with Visitor(site) as victim:
        stranger.guest()
        planted = stranger.client.cookies["session"]
        victim.client.cookies.set("session", planted, domain="127.0.0.1")
        sign_in(victim, providers)
        assert victim.client.cookies["session"] != planted
        # The attacker's own is gone; theirs is not the victim's account.
        assert stranger.me() is None


def test_signing_in_marks_the_browser_and_names_it(site, providers, ada):
    forwarded = {"x-forwarded-for": "93.184.216.34"}
    given = providers.grant(ada.depart("acme"), "ada")
    ada.get("/auth/acme/callback", params=given, headers=forwarded)
    assert sorted(row.kind for row in site.rows(marks)) == ["address", "device"]
    assert site.rows(sessions)[0].label == "Firefox on Linux"
    device = ada.client.cookies["device"]
    ada.post("/auth/sign-out")
    sign_in(ada, providers, "discord", "bob-on-discord")
    assert ada.client.cookies["device"] == device
    devices = [row for row in site.rows(marks) if row.kind == "device"]
    assert len({row.digest for row in devices}) == 1
    assert len({row.user_id for row in devices}) == 2


def test_guest_by_a_plain_form(site, ada):
    page = ada.get("/sign-in?next=/me")
    assert "Go on as a guest" in page.text
    reply = ada.submit("/sign-in/guest", next="/me")
    assert (reply.status_code, reply.headers["location"]) == (303, "/me")
    assert (ada.me()["kind"], ada.me()["consent_needed"]) == ("guest", False)
    assert "Go on as a guest" not in ada.get("/sign-in").text
