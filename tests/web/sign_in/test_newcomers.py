"""How many guests may come from one internet address."""

from __future__ import annotations

import pytest

from live_site import LiveSite, Visitor
from pickapic.collect.tables import users

pytestmark = pytest.mark.slow

HERE = {"x-forwarded-for": "93.184.216.34"}
ELSEWHERE = {"x-forwarded-for": "93.184.216.35"}


def arrive(site, headers):
    with Visitor(site) as somebody:
        somebody.get("/")
        by_script = somebody.client.post("/auth/guest", headers={**somebody.csrf(), **headers})
        form = {"csrf": somebody.client.cookies["csrf"], "next": "/"}
        return by_script, somebody.client.post("/sign-in/guest", data=form, headers=headers)


def test_no_more_guests_from_one_address_within_an_hour(databases, tmp_path):
    home = tmp_path / "home"
    url = databases.migrated("sqlite", home)
    with LiveSite(home=home, database_url=url, guests_per_hour=2) as site:
        for _ in range(2):
            assert arrive(site, HERE)[0].status_code == 201
        by_script, by_form = arrive(site, HERE)
        assert by_script.status_code == by_form.status_code == 429
        assert 3500 < int(by_script.headers["retry-after"]) <= 3600
        assert "2 new people came from your internet address" in by_script.json()["error"]["message"]
        assert "2 new people came from your internet address" in by_form.text
        assert arrive(site, ELSEWHERE)[0].status_code == 201
        assert len(site.rows(users)) == 3
