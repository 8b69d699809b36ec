"""Two ways in, one person? Only the owner of an account can say so."""

from __future__ import annotations

import pytest

from live_site import Visitor, sign_in, words_of
from pickapic.collect.tables import identities, links

pytestmark = pytest.mark.slow


def test_the_owner_links_a_second_way_in_and_nothing_happens_before(site, providers, ada, stranger):
    sign_in(stranger, providers)
    owner = stranger.me()["user_id"]
    reply = sign_in(ada, providers, "discord", "ada-on-discord")
    page = reply.headers["location"]
    assert page.startswith("/link/")
    assert ada.me() is None
    shown = ada.get(page)
    assert "You seem to have an account here" in words_of(shown)
    assert "Link them" not in shown.text
    # Linking without having signed in as the owner is refused.
    assert ada.submit(page, choice="link").status_code == 403
    assert len(site.rows(identities)) == 1
    # The way that the owner knows, and back to the question.
    back = ada.come_back("acme", providers.grant(ada.depart("acme", page), "ada"))
    assert back.headers["location"] == page
    assert "Link Discord to your account?" in words_of(ada.get(page))
    assert len(site.rows(identities)) == 1
    assert ada.submit(page, choice="link").headers["location"] == "/gallery"
    assert [(row.provider, row.user_id) for row in site.rows(identities)] == [
        ("acme", owner),
        ("discord", owner),
    ]
    with Visitor(site) as elsewhere:
        sign_in(elsewhere, providers, "discord", "ada-on-discord")
        assert elsewhere.me()["user_id"] == owner
    assert site.rows(links) == []


def test_kept_apart_there_are_two_accounts(site, providers, ada, stranger):
    sign_in(stranger, providers)
    guest = ada.guest()
    page = sign_in(ada, providers, "discord", "ada-on-discord").headers["location"]
    assert ada.me()["kind"] == "guest"
    assert ada.submit(page, choice="apart").headers["location"] == "/gallery"
    assert (ada.me()["user_id"], ada.me()["kind"]) == (guest, "account")
    sign_in(ada, providers, "discord", "ada-on-discord")
    assert ada.me()["user_id"] == guest
    assert len({row.user_id for row in site.rows(identities)}) == 2


def test_a_stranger_cannot_link_themself_to_an_account(site, providers, ada, stranger):
    sign_in(ada, providers)
    page = sign_in(stranger, providers, "discord", "ada-on-discord").headers["location"]
    # In another browser, even the owner's, the question does not exist: nobody can be talked into answering it.
    assert "had its time" in words_of(ada.get(page))
    assert ada.submit(page, choice="link").status_code == 403
    # Signed in as somebody else, the stranger cannot accept it either.
    sign_in(stranger, providers, "discord", "bob-on-discord")
    assert stranger.submit(page, choice="link").status_code == 403
    assert {row.subject for row in site.rows(identities)} == {"ada-1", "78"}
    # And not without the token of the form.
    assert stranger.client.post(page, data={"choice": "apart"}).status_code == 403


@pytest.mark.parametrize("verified", [False, None, "no", 1])
def test_an_address_that_is_not_verified_links_nothing(site, providers, ada, stranger, verified):
    sign_in(stranger, providers)
    providers.people["ada-on-discord"] = {**providers.people["ada-on-discord"], "verified": verified}
    assert sign_in(ada, providers, "discord", "ada-on-discord").headers["location"] == "/gallery"
    assert ada.me()["user_id"] != stranger.me()["user_id"]
    assert [row.email_hash is None for row in site.rows(identities)] == [False, True]


def test_whoever_is_signed_in_is_asked_before_a_way_in_is_added(site, providers, ada):
    sign_in(ada, providers)
    page = sign_in(ada, providers, "discord", "bob-on-discord").headers["location"]
    assert "Link Discord to your account?" in words_of(ada.get(page))
    assert len(site.rows(identities)) == 1
    ada.submit(page, choice="link")
    assert len({row.user_id for row in site.rows(identities)}) == 1
