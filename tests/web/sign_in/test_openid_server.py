"""Signing in by a real OpenID Connect server, not ours."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from live_site import LiveSite, Visitor, words_of
from pickapic.collect.tables import identities

pytestmark = pytest.mark.slow

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the server's own use of what Authlib will drop
    import oidc_provider_mock


@pytest.fixture(scope="module")
def mock() -> Iterator[str]:
    with (
        warnings.catch_warnings(),
        oidc_provider_mock.run_server_in_thread(require_nonce=True) as server,
    ):
        warnings.simplefilter("ignore")
        yield f"http://localhost:{server.server_port}"


def test_a_person_signs_in_and_back_in_by_openid_connect(mock: str) -> None:
    registered = httpx.put(f"{mock}/users/ada", json={"email": "ada@example.org", "email_verified": True})
    assert registered.status_code == 204
    choice = {"client_id": "x", "client_secret": "y", "issuer": mock}
    with LiveSite(sign_in={"mock": choice}) as site:
        for _ in range(2):
            with Visitor(site) as visitor:
                url = visitor.depart("mock", "/leaderboard")
                assert urlsplit(url).netloc == urlsplit(mock).netloc
                answer = httpx.post(url, data={"sub": "ada"})
                reply = visitor.get(answer.headers["location"])
                assert (reply.status_code, reply.headers["location"]) == (303, "/leaderboard")
                me = visitor.me()
                assert (me["kind"], me["role"], me["consent_needed"]) == ("account", "person", True)
        (identity,) = site.rows(identities)
        assert (identity.provider, identity.subject) == ("mock", "ada")
        assert identity.email_hash is not None
        with Visitor(site) as visitor:
            answer = httpx.post(visitor.depart("mock"), data={"action": "deny"})
            reply = visitor.get(answer.headers["location"])
            # The mock leaves out the state, so all that can be said is that this was not begun here.
            assert reply.status_code in (400, 403)
            assert "Nothing was changed" in words_of(reply)
            assert visitor.me() is None
