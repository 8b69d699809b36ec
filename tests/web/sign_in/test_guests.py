"""Guests and visitors who sign in, and admins of the settings."""

from __future__ import annotations

import pytest

from live_site import sign_in
from pickapic.collect.tables import decisions, duels, marks, rounds, sessions

pytestmark = pytest.mark.slow


def test_a_guest_who_signs_in_keeps_number_and_picks(site, providers, ada):
    guest = ada.guest()
    ada.play(answers=("left", "tie"))
    before = ada.client.cookies["session"]
    sign_in(ada, providers)
    me = ada.me()
    assert (me["user_id"], me["kind"], me["picks"], me["consent_needed"]) == (guest, "account", 2, False)
    assert ada.client.cookies["session"] != before
    ada.client.cookies.set("session", before, domain="127.0.0.1")
    assert ada.me() is None


def test_a_guest_who_turns_out_to_be_known_is_that_person_and_their_open_duel_ends(
    site, providers, ada, stranger
):
    sign_in(ada, providers)
    known = ada.me()["user_id"]
    guest = stranger.guest()
    stranger.play()
    sign_in(stranger, providers)
    assert (stranger.me()["user_id"], stranger.me()["picks"]) == (known, 0)
    assert [(row.user_id, row.state) for row in site.rows(duels)] == [(guest, "closed")]


def test_a_visitor_tries_the_free_prompt_and_nothing_else(site, providers, ada):
    ada.get("/")
    assert ada.post("/auth/visitor").json()["kind"] == "visitor"
    assert ada.post("/auth/visitor").status_code == 200
    refused = ada.post("/api/v1/duels", {"prompt": "a prompt of my own"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "sign_in")
    free = site.settings.free_picks
    duel = ada.play(site.settings.free_prompt, ("left",) * free)
    site.work()
    duel = ada.get(f"/api/v1/duels/{duel['duel_id']}").json()
    for image in duel["round"]["images"]:
        ada.get(image["url"])
    more = ada.post(f"/api/v1/rounds/{duel['round']['round_id']}/pick", {"pick": "left"})
    assert (more.status_code, more.json()["error"]["code"]) == (401, "sign_in")
    last = max((row for row in site.rows(rounds) if row.state == "answered"), key=lambda row: row.number)
    assert ada.post(f"/api/v1/rounds/{last.uid}/pick", {"pick": "left"}).status_code == 200, "sent again"
    visitor = ada.me()["user_id"]
    sign_in(ada, providers)
    assert (ada.me()["picks"], ada.me()["kind"]) == (0, "account")
    assert ada.me()["user_id"] != visitor
    assert [row.state for row in site.rows(duels)] == ["closed"]


def test_a_visitor_becomes_a_guest_of_another_number(site, ada):
    ada.get("/")
    visitor = ada.post("/auth/visitor").json()["user_id"]
    reply = ada.post("/auth/guest")
    assert (reply.status_code, reply.json()["kind"]) == (201, "guest")
    assert reply.json()["user_id"] != visitor
    assert len(site.rows(sessions)) == 1
    assert not [row for row in site.rows(marks) if row.user_id == visitor]


def test_admins_of_the_settings_are_admins_once_their_address_is_verified(site, providers, ada):
    providers.people["ada"] = {"sub": "r", "email": "Root@Example.org", "email_verified": False}
    sign_in(ada, providers)
    assert ada.me()["role"] == "person"
    providers.people["ada"]["email_verified"] = True
    sign_in(ada, providers)
    assert ada.me()["role"] == "admin"
    assert [row.action for row in site.rows(decisions)] == ["role admin"]
