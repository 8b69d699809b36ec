"""Circuit breakers: a generator whose provider fails again and again is benched for a while.

Failures in a row are counted; from `breaker_failures` on the generator is not drawn and nothing is leased for it, for
`breaker_seconds`, twice as long after each further failure, up to `breaker_max_seconds`. Then one job tries it: a
success takes its row away, and with it all that was counted. Where nothing fails, nothing is written.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, delete, literal_column, select, update
from sqlalchemy.dialects import postgresql, sqlite

from pickapic.collect import decisions
from pickapic.collect.refusals import NotFoundError
from pickapic.collect.tables import breakers, jobs
from pickapic.settings import Settings

ERROR_LENGTH = 500
MOST_DOUBLINGS = 30


@dataclass(frozen=True, slots=True)
class Breaker:
    """A generator that failed lately: how often in a row and since when, until when it is benched, and why.

    `benched_until` is None while it is not. `failed_at` and `error` are of the last failure.
    """

    name: str
    failures: int
    since: datetime
    benched_until: datetime | None
    error: str
    failed_at: datetime


_all = select(*(breakers.c[name] for name in Breaker.__slots__)).order_by(breakers.c.name)
_in_the_making = (
    select(jobs.c.generator)
    .where(
        # As text and not as a parameter, so that the partial index serves it.
        jobs.c.state == literal_column("'leased'"),
        jobs.c.generator.in_(bindparam("names", expanding=True)),
    )
    .distinct()
)


def read(connection: Connection) -> dict[str, Breaker]:
    """Return the generators that failed lately, by name."""
    return {row.name: Breaker(*row) for row in connection.execute(_all)}


def resting(connection: Connection, known: Mapping[str, Breaker], now: datetime) -> set[str]:
    """Return which of `known` are not to be drawn or leased: benched, or just being tried again."""
    benched = {one.name: one.benched_until for one in known.values() if one.benched_until is not None}
    due = [name for name, until in benched.items() if until <= now]
    tried = set(connection.execute(_in_the_making, {"names": due}).scalars()) if due else set[str]()
    return {name for name, until in benched.items() if until > now or name in tried}


def due(known: Mapping[str, Breaker], now: datetime) -> set[str]:
    """Return which of `known` have been benched for long enough, and wait for one job to try them."""
    return {one.name for one in known.values() if one.benched_until is not None and one.benched_until <= now}


_locked = (
    select(breakers.c.failures, breakers.c.benched_until)
    .where(breakers.c.name == bindparam("key"))
    .with_for_update()
)
_change = (
    update(breakers)
    .where(breakers.c.name == bindparam("key"))
    .values(
        failures=bindparam("count"),
        benched_until=bindparam("until"),
        error=bindparam("why"),
        failed_at=bindparam("now"),
    )
)


def failed(connection: Connection, name: str, error: str, settings: Settings, now: datetime) -> bool:
    """Count a failure of a generator's provider; return whether the generator is benched from now on.

    What was asked of it before it was benched, and fails later, does not count.
    """
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    first = {"name": name, "failures": 0, "since": now, "error": "", "failed_at": now}
    connection.execute(insert(breakers).values(first).on_conflict_do_nothing())
    row = connection.execute(_locked, {"key": name}).one()
    if row.benched_until is not None and row.benched_until > now:
        return False
    count = row.failures + 1
    until = None
    if count >= settings.breaker_failures:
        doublings = min(count - settings.breaker_failures, MOST_DOUBLINGS)
        seconds = min(settings.breaker_seconds * 2.0**doublings, settings.breaker_max_seconds)
        until = now + timedelta(seconds=seconds)
    values = {"key": name, "count": count, "until": until, "why": error[:ERROR_LENGTH], "now": now}
    connection.execute(_change, values)
    return until is not None


def answered(connection: Connection, names: Collection[str]) -> None:
    """Forget the failures of generators that gave an answer."""
    if names:
        connection.execute(delete(breakers).where(breakers.c.name.in_(list(names))))


_lock = select(breakers.c.name).where(breakers.c.name == bindparam("key")).with_for_update(skip_locked=True)


def may_try(connection: Connection, name: str) -> bool:
    """Return whether the caller's transaction may lease the one job that tries a generator whose time has come."""
    if connection.execute(_lock, {"key": name}).first() is None:
        return False
    return connection.execute(_in_the_making, {"names": [name]}).first() is None


def try_now(
    connection: Connection, names: Sequence[str], name: str, actor_id: int | None, now: datetime
) -> bool:
    """Let the next job try a benched generator; return whether it was benched. `names` are those of the settings.

    Raises:
        NotFoundError: the settings have no such generator.
    """
    if name not in names:
        raise NotFoundError("The settings have no generator called {name}.", name=name)
    changed = connection.execute(
        update(breakers)
        .where(breakers.c.name == name, breakers.c.benched_until > now)
        .values(benched_until=now)
    ).rowcount
    if changed:
        decisions.record(connection, actor_id, "try now", "generator", name, "", now)
    return bool(changed)
