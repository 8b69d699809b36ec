"""What the routes share while the app runs: one `Service` an app, made at its start."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random, SystemRandom
from typing import Annotated, Generic, TypeVar

from fastapi import Depends, Request
from obstore.store import ObjectStore

from pickapic.collect.database import Database
from pickapic.collect.duels.images import Location
from pickapic.collect.people import sessions
from pickapic.collect.people.sessions import SignedIn
from pickapic.collect.people.users import BANNED, banned
from pickapic.collect.people.visitors import VISITOR
from pickapic.collect.queue import generator_states
from pickapic.collect.refusals import ForbiddenError
from pickapic.settings import Settings
from pickapic.web import visits
from pickapic.web.boards import Boards
from pickapic.web.changes import Changes
from pickapic.web.deliveries import Deliveries
from pickapic.web.metrics import Metrics
from pickapic.web.readiness import Ready
from pickapic.web.scoring import Scoring

K = TypeVar("K")
V = TypeVar("V")

# A session that another process has ended is noticed after this long; one that this process ends, at once.
SESSION_SECONDS = 2.0
# Likewise a generator that an admin switches on or off; see `Service.drawn`.
GENERATORS_SECONDS = 2.0
SESSIONS_KEPT = 10_000
# A browser that ignores its new token is not offered another at every request.
SPARED_SECONDS = 60.0
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

    def drop_where(self, unwanted: Callable[[V], bool]) -> None:
        """Forget every value for which `unwanted` is true."""
        for key in [key for key, value in self._values.items() if unwanted(value)]:
            del self._values[key]

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
    ready: Ready
    deliveries: Deliveries
    boards: Boards
    rng: Random = field(default_factory=SystemRandom)
    locations: Recent[str, Location] = field(default_factory=lambda: Recent[str, Location](LOCATIONS_KEPT))
    people: Recent[str, tuple[float, SignedIn]] = field(
        default_factory=lambda: Recent[str, tuple[float, SignedIn]](SESSIONS_KEPT)
    )
    spared: Recent[str, float] = field(default_factory=lambda: Recent[str, float](SESSIONS_KEPT))

    drawn: Recent[str, tuple[float, Settings]] = field(
        default_factory=lambda: Recent[str, tuple[float, Settings]](1)
    )

    async def present(self) -> Settings:
        """Return the settings with only those generators that are switched on now, as they are weighed now."""
        known = self.drawn.get("")
        if known is not None and known[0] > time.monotonic():
            return known[1]
        choices = await self.database.read(generator_states.effective, self.settings.generators, now())
        present = self.settings.model_copy(update={"generators": choices})
        self.drawn.put("", (time.monotonic() + GENERATORS_SECONDS, present))
        return present

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

    def forget_session(self, session_key: int) -> None:
        """Let the tokens of a session that has ended, or changed, be worth nothing here from now on."""
        self.people.drop_where(lambda known: known[1].session_key == session_key)

    def forget_user(self, user_id: int) -> None:
        """Let what is remembered of a user who was signed out, banned or deleted be worth nothing from now on."""
        self.people.drop_where(lambda known: known[1].user_id == user_id)

    async def user_of(self, token: str | None) -> int | None:
        """Return the user whose session cookie is `token`, or None."""
        person = await self.person_of(token)
        return None if person is None else person.user_id


def now() -> datetime:
    """Return the present in UTC."""
    return datetime.now(UTC)


async def _service(request: Request) -> Service:
    return request.app.state.service


async def person_behind(request: Request) -> SignedIn:
    """Return who sent a request, and keep their session fresh.

    Raises:
        SignInError: nobody who is signed in.
    """
    service: Service = request.app.state.service
    token: str | None = request.scope.get("pickapic.session")
    person = await service.person_of(token)
    if token is None or person is None:
        raise SignInError
    is_due = not request.scope["pickapic.quiet"] and visits.is_due(person, service.settings, now())
    if is_due and (service.spared.get(token) or 0.0) < time.monotonic():
        service.spared.put(token, time.monotonic() + SPARED_SECONDS)
        secret: str = request.app.state.secret
        await visits.keep_fresh(service.database, service.settings, secret, request.scope, person)
        service.forget_session(person.session_key)
    return person


ServiceHere = Annotated[Service, Depends(_service)]
Person = Annotated[SignedIn, Depends(person_behind)]
"""Whoever is signed in; nobody: 401."""


async def _user_id(person: Person) -> int:
    return person.user_id


async def participant(service: ServiceHere, person: Person) -> SignedIn:
    """Return `person`, who may take part.

    Raises:
        ForbiddenError: banned, or the present terms are not agreed to.
    """
    if person.status == BANNED:
        raise banned()
    # What a visitor tries is never published, so there is nothing yet to agree to.
    if person.kind != VISITOR and person.consent != service.settings.terms_version:
        raise ForbiddenError("consent", "Please read the terms and agree to them first; then go on here.")
    return person


async def _moderator(person: Person) -> SignedIn:
    if person.role not in ("moderator", "admin") or person.status == BANNED:
        raise ForbiddenError("role", "Only moderators may do that.")
    return person


async def _admin(person: Person) -> SignedIn:
    if person.role != "admin" or person.status == BANNED:
        raise ForbiddenError("role", "Only admins may do that.")
    return person


UserId = Annotated[int, Depends(_user_id)]
Participant = Annotated[SignedIn, Depends(participant)]
"""Somebody who may start duels and answer rounds: not banned, and agreed to the present terms."""
Moderator = Annotated[SignedIn, Depends(_moderator)]
"""A moderator or an admin."""
Admin = Annotated[SignedIn, Depends(_admin)]
"""An admin."""
