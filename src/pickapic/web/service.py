"""What the routes share while the app runs: one `Service` an app, made at its start."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random, SystemRandom
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Depends, Request
from obstore.store import ObjectStore

from pickapic.collect import sessions
from pickapic.collect.database import Database
from pickapic.collect.images import Location
from pickapic.collect.refusals import ForbiddenError
from pickapic.collect.sessions import SignedIn
from pickapic.collect.visitors import VISITOR
from pickapic.settings import Settings
from pickapic.web.changes import Changes
from pickapic.web.metrics import Metrics
from pickapic.web.scoring import Scoring

K = TypeVar("K")
V = TypeVar("V")

# A session that another process has ended is noticed after this long; one that this process ends, at once.
SESSION_SECONDS = 2.0
SESSIONS_KEPT = 10_000
LOCATIONS_KEPT = 50_000


class SignInError(Exception):
    """The call needs a session, and there is none."""


class Recent(Generic[K, V]):
    """The values used last, up to `size` of them."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        """Return what is kept under `key`, or None."""
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def put(self, key: K, value: V) -> None:
        """Keep `value`; the one unused for longest makes room."""
        self._values[key] = value
        if len(self._values) > self._size:
            self._values.popitem(last=False)

    def drop(self, key: K) -> None:
        """Forget `key`."""
        self._values.pop(key, None)

    def clear(self) -> None:
        """Forget everything."""
        self._values.clear()


@dataclass(frozen=True, slots=True)
class Service:
    """The settings and the open parts: database, image store, waiting clients, metrics."""

    settings: Settings
    database: Database
    store: ObjectStore
    changes: Changes
    metrics: Metrics
    scoring: Scoring
    rng: Random = field(default_factory=SystemRandom)
    locations: Recent[str, Location] = field(default_factory=lambda: Recent[str, Location](LOCATIONS_KEPT))
    boards: Recent[str, tuple[float, Any]] = field(default_factory=lambda: Recent[str, tuple[float, Any]](1))
    people: Recent[str, tuple[float, SignedIn]] = field(
        default_factory=lambda: Recent[str, tuple[float, SignedIn]](SESSIONS_KEPT)
    )

    async def person_of(self, token: str | None) -> SignedIn | None:
        """Return who holds the session cookie `token`, or None."""
        if token is None:
            return None
        known = self.people.get(token)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        person = await self.database.read(sessions.signed_in, token, now())
        if person is None:
            self.people.drop(token)
        else:
            self.people.put(token, (time.monotonic() + SESSION_SECONDS, person))
        return person

    async def user_of(self, token: str | None) -> int | None:
        """Return the user whose session cookie is `token`, or None."""
        person = await self.person_of(token)
        return None if person is None else person.user_id


def now() -> datetime:
    """Return the present in UTC."""
    return datetime.now(UTC)


async def _service(request: Request) -> Service:
    return request.app.state.service


async def _person(request: Request) -> SignedIn:
    service: Service = request.app.state.service
    person = await service.person_of(request.scope.get("pickapic.session"))
    if person is None:
        raise SignInError
    return person


ServiceHere = Annotated[Service, Depends(_service)]
Person = Annotated[SignedIn, Depends(_person)]
"""Whoever is signed in; nobody: 401."""


async def _user_id(person: Person) -> int:
    return person.user_id


async def _participant(service: ServiceHere, person: Person) -> SignedIn:
    if person.status == "banned":
        raise ForbiddenError(
            "banned", "You cannot take part here any more. Whoever runs this page can say why, and change it."
        )
    # What a visitor tries is never published, so there is nothing yet to agree to.
    if person.kind != VISITOR and person.consent != service.settings.terms_version:
        raise ForbiddenError("consent", "Please read the terms and agree to them first; then go on here.")
    return person


async def _moderator(person: Person) -> SignedIn:
    if person.role not in ("moderator", "admin") or person.status == "banned":
        raise ForbiddenError("role", "Only moderators may do that.")
    return person


async def _admin(person: Person) -> SignedIn:
    if person.role != "admin" or person.status == "banned":
        raise ForbiddenError("role", "Only admins may do that.")
    return person


UserId = Annotated[int, Depends(_user_id)]
Participant = Annotated[SignedIn, Depends(_participant)]
"""Somebody who may start duels and answer rounds: not banned, and agreed to the present terms."""
Moderator = Annotated[SignedIn, Depends(_moderator)]
"""A moderator or an admin."""
Admin = Annotated[SignedIn, Depends(_admin)]
"""An admin."""
