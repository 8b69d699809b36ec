"""Providers, a site that people sign in to by them, and visitors."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from databases import Databases
from live_site import LiveSite, Visitor
from providers import CLIENT_ID, CLIENT_SECRET, Providers

PEOPLE = {
    "ada": {"sub": "ada-1", "email": "ada@example.org", "email_verified": True},
    "ada-on-discord": {"id": "77", "email": "Ada@Example.org", "verified": True, "username": "ada"},
    "bob-on-discord": {"id": "78", "email": None},
}


def ways_in(providers: Providers) -> dict[str, dict[str, str]]:
    known = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "issuer": providers.address}
    return {"acme": {**known, "label": "Acme & Sons"}, "discord": known}


@pytest.fixture
def providers() -> Iterator[Providers]:
    with Providers({name: dict(person) for name, person in PEOPLE.items()}) as providers:
        yield providers


@pytest.fixture
def site(providers: Providers, databases: Databases, tmp_path) -> Iterator[LiveSite]:
    home = tmp_path / "home"
    database_url = databases.migrated("sqlite", home)
    with LiveSite(
        home=home, database_url=database_url, sign_in=ways_in(providers), admins="root@example.org"
    ) as site:
        yield site


@pytest.fixture
def ada(site: LiveSite) -> Iterator[Visitor]:
    with Visitor(site) as visitor:
        yield visitor


@pytest.fixture
def stranger(site: LiveSite) -> Iterator[Visitor]:
    with Visitor(site, "curl/8.1") as visitor:
        yield visitor


# For many refusals in a row: nobody ever gets in.


@pytest.fixture(scope="module")
def fortress(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSite]:
    home = tmp_path_factory.mktemp("fortress")
    with Providers({name: dict(person) for name, person in PEOPLE.items()}) as providers:
        database_url = databases.migrated("sqlite", home)
        with LiveSite(home=home, database_url=database_url, sign_in=ways_in(providers)) as site:
            site.providers = providers
            yield site


@pytest.fixture
def besieged(fortress: LiveSite) -> Iterator[Visitor]:
    """Somebody at the fortress, whose providers are as they should be until the test changes them."""
    providers: Providers = fortress.providers
    fortress.app.state.providers["acme"]._issuer = None
    with Visitor(fortress) as visitor:
        yield visitor
    providers.claims, providers.metadata, providers.failing, providers.bodies = {}, {}, {}, {}
    providers.signing = "own"
