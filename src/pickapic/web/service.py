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
    people: Recent[str, tuple[float, int]] = field(
        default_factory=lambda: Recent[str, tuple[float, int]](SESSIONS_KEPT)
    )

    async def user_of(self, token: str | None) -> int | None:
        """Return the user whose session cookie is `token`, or None."""
        if token is None:
            return None
        known = self.people.get(token)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        user_id = await self.database.read(sessions.signed_in, token, now())
        if user_id is None:
            self.people.drop(token)
        else:
            self.people.put(token, (time.monotonic() + SESSION_SECONDS, user_id))
        return user_id


def now() -> datetime:
    """Return the present in UTC."""
    return datetime.now(UTC)


async def _service(request: Request) -> Service:
    return request.app.state.service


async def _signed_in(request: Request) -> int:
    service: Service = request.app.state.service
    user_id = await service.user_of(request.scope.get("pickapic.session"))
    if user_id is None:
        raise SignInError
    return user_id


ServiceHere = Annotated[Service, Depends(_service)]
UserId = Annotated[int, Depends(_signed_in)]
