"""Every operation of the API, called with whatever its description allows and forbids: never a 5xx."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
import schemathesis.specs.openapi.schemas  # loaded lazily, it would be beside the server's thread
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

from live_site import LiveSite, Visitor
from pickapic.collect.duels import duel, wire
from pickapic.collect.people import bans, tokens
from pickapic.collect.tables import images, rounds
from pickapic.web.service import now

pytestmark = pytest.mark.slow

EXAMPLES = 12
# They end what other calls need, so they come last.
ENDING = ("DELETE /api/v1/me", "POST /auth/sign-out")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSite]:
    limits = {"prompts_per_minute": 10_000, "jobs_per_user": 100_000, "images_per_week": 1_000_000}
    home = tmp_path_factory.mktemp("openapi")
    with LiveSite(home=home, scorer="random", **limits) as site:
        yield site


def guest(site: LiveSite) -> Visitor:
    visitor = Visitor(site)
    visitor.client.get("/api/v1/me")
    assert visitor.post("/auth/guest").status_code == 201
    return visitor


def admin(site: LiveSite) -> Visitor:
    visitor = guest(site)
    user = visitor.me()["user_id"]
    site.write(lambda connection: bans.set_role(connection, None, user, "admin", "for a test", now()))
    site.service.forget_user(user)
    return visitor


def machine_headers(site: LiveSite) -> dict[str, str]:
    """What a worker sends beside its name."""
    token = site.write(tokens.create, "worker", "schema", None, None, now()).token
    return {"Authorization": f"Bearer {token}", wire.PROTOCOL_HEADER: str(wire.PROTOCOL)}


def ids_of(site: LiveSite, visitor: Visitor) -> dict[str, str]:
    """Play a little, and return ids that are really the visitor's, by the names that paths have for them."""
    started = visitor.post("/api/v1/duels", {"prompt": "a red cat"}).json()
    site.work()
    played = visitor.client.get(f"/api/v1/duels/{started['duel_id']}").json()
    token = played["round"]["images"][0]["url"].rpartition("/")[2]
    return {"duel_id": started["duel_id"], "round_id": played["round"]["round_id"], "token": token}


@pytest.mark.parametrize("somebody", [guest, admin])
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_nothing_that_can_be_asked_breaks_the_server(site, somebody, mode):
    schema = schemathesis.openapi.from_url(f"{site.address}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    operations.sort(key=lambda operation: operation.label in ENDING)
    assert len(operations) > 25
    asked: dict[str, set[int]] = {}
    for operation in operations:
        with somebody(site) as visitor:
            known = (
                {} if operation.label.endswith("/events") else ids_of(site, visitor)
            )  # a stream has no end
            ask(operation, mode, visitor, known, asked)
    assert {label for label, statuses in asked.items() if any(status >= 500 for status in statuses)} == set()
    # Calls that are all refused would prove little.
    answered = [label for label, statuses in asked.items() if any(status < 400 for status in statuses)]
    if mode is GenerationMode.POSITIVE:
        assert len(answered) > len(operations) / 2
    else:
        assert len(asked) > 5  # those that take more than an id, for which any text will do


def ask(
    operation: Any, mode: GenerationMode, visitor: Visitor, known: dict[str, str], asked: dict[str, set[int]]
) -> None:
    """Call one operation with drawn inputs, on things of the visitor's own and on none."""
    strategy = operation.as_strategy(generation_mode=mode)
    worker = machine_headers(visitor.site)

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=strategy)
    def call(case: Any) -> None:
        for name, value in known.items():
            if name in (case.path_parameters or {}) and len(str(case.path_parameters[name])) % 2:
                case.path_parameters[name] = value
        case.query = {name: value for name, value in (case.query or {}).items() if name != "wait"}
        headers = {"X-CSRF-Token": visitor.client.cookies.get("csrf", "")}
        if operation.path.startswith(wire.PATH):
            headers |= worker
            if isinstance(case.body, dict) and "wait_s" in case.body:
                case.body["wait_s"] = 0
        reply = case.call(headers=headers, cookies=dict(visitor.client.cookies), timeout=20)
        asked.setdefault(operation.label, set()).add(reply.status_code)
        assert reply.status_code < 500, f"{operation.label}: {reply.status_code} for {case.as_curl_command()}"

    try:
        call()
    except Unsatisfiable:
        # An operation that takes nothing cannot be given something wrong.
        assert mode is GenerationMode.NEGATIVE


def test_what_was_played_meanwhile_is_whole(site):
    """After all that, a duel can still be played."""
    with guest(site) as visitor:
        known = ids_of(site, visitor)
    assert site.rows(images)
    assert any(row.uid == known["round_id"] and row.state == duel.OPEN for row in site.rows(rounds))
