"""Providers that err, lie or are away: whoever comes from them gets a calm page, and is not let in."""

from __future__ import annotations

import time

import pytest

from live_site import Visitor, assert_not_let_in, query_of, sign_in
from pickapic.collect.tables import identities
from pickapic.web.sign_in import openid, provider
from providers import CLIENT_ID

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"iss": "https://evil.example"},
        {"iss": None},
        {"aud": "somebody-else"},
        {"aud": ["somebody-else"], "azp": CLIENT_ID},
        {"aud": [CLIENT_ID, "another"]},
        {"aud": [CLIENT_ID, "another"], "azp": "another"},
        {"aud": None},
        {"exp": 1},
        {"exp": time.time() - openid.SKEW_SECONDS - 60},
        {"exp": None},
        {"exp": "soon"},
        {"iat": time.time() + openid.SKEW_SECONDS + 600},
        {"iat": None},
        {"sub": None},
        {"sub": ""},
        {"sub": 7},
        {"sub": "x" * 300},
        {"at_hash": "of another token"},
    ],
    ids=" ".join,
)
def test_an_id_token_that_is_not_for_us_now_is_refused(fortress, besieged, claims):
    fortress.providers.claims = claims
    assert_not_let_in(
        besieged, sign_in(besieged, fortress.providers), 502, "Acme &amp; Sons", "could not be trusted"
    )


@pytest.mark.parametrize("signing", ["another's", "none", "secret"])
def test_an_id_token_that_the_issuer_did_not_sign_is_refused(fortress, besieged, signing):
    fortress.providers.signing = signing
    assert_not_let_in(besieged, sign_in(besieged, fortress.providers), 502)


@pytest.mark.parametrize(
    ("claims", "seconds"),
    [
        ({}, {"exp": -30}),
        ({}, {"iat": 60, "nbf": 60}),
        ({"aud": [CLIENT_ID]}, {}),
        ({"aud": [CLIENT_ID, "another"], "azp": CLIENT_ID}, {}),
    ],
    ids=["just expired", "issued in a moment", "audience in a list", "two audiences"],
)
def test_clocks_may_differ_a_little_and_audiences_may_be_lists(site, providers, ada, claims, seconds):
    # From now, not from when the tests were collected: minutes may lie between.
    providers.claims = claims | {name: time.time() + after for name, after in seconds.items()}
    assert sign_in(ada, providers).status_code == 303


def test_an_issuer_may_change_its_keys(site, providers, ada, monkeypatch):
    sign_in(ada, providers)
    providers.new_key()
    with Visitor(site) as visitor:
        assert sign_in(visitor, providers).status_code == 502, "the keys were asked for a moment ago"
    monkeypatch.setattr(openid, "KEYS_SECONDS", 0.0)
    with Visitor(site) as visitor:
        assert sign_in(visitor, providers).status_code == 303
    assert providers.asked.count("/.well-known/openid-configuration") == 1
    assert providers.asked.count("/jwks") == 2


def test_what_an_issuer_says_of_itself_is_remembered_for_a_while(site, providers, ada, monkeypatch):
    for _ in range(3):
        ada.depart("acme")
    assert providers.asked == ["/.well-known/openid-configuration"]
    monkeypatch.setattr(openid, "DISCOVERY_SECONDS", -1.0)
    site.app.state.providers["acme"]._issuer = None
    ada.depart("acme")
    ada.depart("acme")
    assert len(providers.asked) == 3


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://evil.example"},
        {"issuer": None},
        {"authorization_endpoint": "http://evil.example/authorize", "token_endpoint": None},
        {"token_endpoint": "file:///etc/passwd"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"jwks_uri": 7},
        {"id_token_signing_alg_values_supported": ["none", "HS256"]},
    ],
    ids=str,
)
def test_an_issuer_that_says_odd_things_of_itself_is_not_used(fortress, besieged, metadata):
    fortress.providers.metadata = metadata
    assert_not_let_in(besieged, besieged.get("/auth/acme"), 502, "could not be trusted")


def test_an_answer_that_names_another_issuer_is_refused(site, providers, ada):
    given = providers.grant(ada.depart("acme"), "ada")
    assert_not_let_in(ada, ada.come_back("acme", {**given, "iss": "https://evil.example"}), 502)
    given = providers.grant(ada.depart("acme"), "ada")
    assert ada.come_back("acme", {**given, "iss": providers.address}).status_code == 303


def test_an_issuer_that_promises_to_name_itself_must(fortress, besieged):
    fortress.providers.metadata = {"authorization_response_iss_parameter_supported": True}
    assert_not_let_in(besieged, sign_in(besieged, fortress.providers), 502)


def test_an_address_may_come_from_userinfo_but_only_of_the_same_person(site, providers, ada):
    providers.claims = {"email": None, "email_verified": None}
    known = providers.people["ada"]
    providers.people["ada"] = {**known, "sub": "somebody else"}
    providers.claims["sub"] = "ada-1"
    assert_not_let_in(ada, sign_in(ada, providers), 502)
    providers.people["ada"] = known
    assert sign_in(ada, providers).status_code == 303
    assert site.rows(identities)[0].email_hash is not None


def test_a_provider_that_is_down_gets_a_calm_page(site, providers, ada):
    given = providers.grant(ada.depart("acme"), "ada")
    providers.stop()
    assert_not_let_in(ada, ada.come_back("acme", given), 503, "does not answer", "Acme &amp; Sons")
    site.app.state.providers["acme"]._issuer = None
    assert_not_let_in(ada, ada.get("/auth/acme"), 503, "does not answer")


@pytest.mark.parametrize(
    ("name", "path", "status", "shown"),
    [
        ("acme", "/token", 500, 503),
        ("acme", "/token", 400, 400),
        ("acme", "/token", 302, 400),
        ("acme", "/jwks", 503, 503),
        ("acme", "/jwks", 404, 400),
        ("discord", "/api/v10/oauth2/token", 429, 400),
        ("discord", "/api/v10/users/@me", 502, 503),
        ("discord", "/api/v10/users/@me", 401, 400),
    ],
)
def test_a_provider_that_fails_gets_a_calm_page(fortress, besieged, name, path, status, shown):
    fortress.providers.failing = {path: status}
    who = "ada" if name == "acme" else "ada-on-discord"
    assert_not_let_in(besieged, sign_in(besieged, fortress.providers, name, who), shown)


@pytest.mark.parametrize(
    ("name", "path", "body"),
    [
        ("acme", "/token", b"<html>"),
        ("acme", "/token", b"[]"),
        ("acme", "/token", b'{"access_token": "x", "token_type": "Bearer"}'),
        ("acme", "/token", b'{"access_token": "x", "token_type": "Bearer", "id_token": "a.b.c"}'),
        ("acme", "/token", b'{"access_token": "x", "token_type": "Bearer", "id_token": 7}'),
        ("acme", "/jwks", b'{"keys": []}'),
        ("acme", "/jwks", b"{}"),
        ("acme", "/jwks", b'{"keys": 7}'),
        ("discord", "/api/v10/oauth2/token", b"\xff\xfe"),
        ("discord", "/api/v10/oauth2/token", b'{"token_type": "odd"}'),
        ("discord", "/api/v10/users/@me", b"[]"),
        ("discord", "/api/v10/users/@me", b"{}"),
        ("discord", "/api/v10/users/@me", b'{"id": {"x": 1}}'),
        ("discord", "/api/v10/users/@me", b'{"id": "a\\nb"}'),
    ],
)
def test_a_provider_that_talks_nonsense_gets_a_calm_page(fortress, besieged, name, path, body):
    fortress.providers.bodies = {path: body}
    who = "ada" if name == "acme" else "ada-on-discord"
    reply = sign_in(besieged, fortress.providers, name, who)
    assert_not_let_in(besieged, reply, reply.status_code)
    assert reply.status_code in (400, 502)


def test_a_provider_that_is_slow_is_not_waited_for(fortress, besieged, monkeypatch):
    monkeypatch.setattr(provider, "STEP_SECONDS", 0.0)
    assert_not_let_in(besieged, besieged.get("/auth/acme"), 503, "does not answer")


def test_calling_it_off_at_the_provider_is_said_calmly(fortress, besieged):
    for name in ("acme", "discord"):
        state = query_of(besieged.depart(name))["state"]
        reply = besieged.come_back(name, {"error": "access_denied", "state": state})
        assert_not_let_in(besieged, reply, 403, "called off")
        assert "/auth/acme?next=%2Fgallery" in reply.text.replace("&amp;", "&").replace(
            "/gallery", "%2Fgallery"
        )
    state = query_of(besieged.depart("acme"))["state"]
    markup = "<script>alert(1)</script>"
    reply = besieged.come_back("acme", {"error": markup, "error_description": markup, "state": state})
    assert markup not in reply.text


def test_an_unknown_way_to_sign_in_is_not_found(besieged):
    for path in ("/auth/nobody", "/auth/nobody/callback", "/auth/..%2fadmin"):
        assert besieged.get(path).status_code == 404
