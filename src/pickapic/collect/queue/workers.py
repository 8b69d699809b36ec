"""Workers that were heard of lately: what each makes, and since when.

A worker beside the database goes by a name of its own. One that comes over HTTPS is called after its token, with its
own name behind a colon, which no other name has: so nobody takes the jobs of a worker that holds another token.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, delete, func, literal_column, select, update
from sqlalchemy.dialects import postgresql, sqlite

from pickapic.collect.tables import jobs, tokens, workers

GONE_AFTER = timedelta(minutes=10)
"""A worker that was silent for so long is forgotten."""
NOTED_EVERY = timedelta(seconds=10)
"""How often it is written down that a worker was heard of."""
OWN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,50}")
"""What a worker may call itself."""

_INSERTS = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


@dataclass(frozen=True, slots=True)
class Seen:
    """A worker: the names of what it makes, the jobs that it holds now, and the label of its token, if it has one."""

    name: str
    generators: tuple[str, ...]
    started_at: datetime
    seen_at: datetime
    token_uid: str | None
    token_label: str | None
    leased: int


def remote_name(token_uid: str, own_name: str) -> str:
    """Return what a worker that holds a token is called here.

    Raises:
        ValueError: `own_name` is no name that a worker may have.
    """
    if not OWN_NAME.fullmatch(own_name):
        raise ValueError(f"{own_name[:80]!r} is no name of a worker")
    return f"{token_uid}:{own_name}"


_known = select(workers.c.seen_at, workers.c.generators).where(workers.c.name == bindparam("key"))
_seen = (
    update(workers)
    .where(workers.c.name == bindparam("key"))
    .values(seen_at=bindparam("now"), generators=bindparam("makes"), token_id=bindparam("token_key"))
)


def note(
    connection: Connection, name: str, generators: Collection[str], token_id: int | None, now: datetime
) -> None:
    """Write down that a worker was heard of, and what it makes; at most every NOTED_EVERY, unless that changed."""
    makes = json.dumps(sorted(generators))
    row = connection.execute(_known, {"key": name}).first()
    if row is None:
        insert = _INSERTS[connection.dialect.name]
        values = {"name": name, "token_id": token_id, "generators": makes, "started_at": now, "seen_at": now}
        # A worker that repeats a call whose answer was lost may be heard of twice at once.
        connection.execute(insert(workers).values(values).on_conflict_do_nothing())
        connection.execute(delete(workers).where(workers.c.seen_at < now - GONE_AFTER))
    elif row.generators != makes or now - row.seen_at >= NOTED_EVERY:
        connection.execute(_seen, {"key": name, "now": now, "makes": makes, "token_key": token_id})


_stands = (
    update(workers)
    .where(workers.c.name == bindparam("key"), workers.c.rooms.is_distinct_from(bindparam("present")))
    .values(rooms=bindparam("present"))
)


def note_rooms(connection: Connection, name: str, rooms: Sequence[tuple[Sequence[str], int]]) -> None:
    """Write down which generators of a known worker take turns, and how many images each room makes at once."""
    connection.execute(_stands, {"key": name, "present": json.dumps(rooms)})


_rooms = select(workers.c.rooms).where(workers.c.seen_at >= bindparam("since"), workers.c.rooms.is_not(None))


def rooms(connection: Connection, since: datetime) -> list[tuple[frozenset[str], int]]:
    """Return the rooms of all workers heard of since then: the generators of each, and how many images at once."""
    found: list[tuple[frozenset[str], int]] = []
    for text in connection.execute(_rooms, {"since": since}).scalars():
        found += [(frozenset(names), at_once) for names, at_once in json.loads(text or "[]")]
    return found


_heard = update(workers).where(workers.c.name == bindparam("key"), workers.c.seen_at <= bindparam("before"))


def touch(connection: Connection, name: str, now: datetime) -> None:
    """Write down that a known worker was heard of, unless that was done less than NOTED_EVERY ago."""
    values = {"key": name, "now": now, "before": now - NOTED_EVERY}
    connection.execute(_heard.values(seen_at=bindparam("now")), values)


def forget(connection: Connection, name: str) -> None:
    """Forget a worker that says good-bye."""
    connection.execute(delete(workers).where(workers.c.name == name))


_leased = (
    select(jobs.c.worker, func.count().label("count"))
    .where(jobs.c.state == literal_column("'leased'"))  # as text, so that the partial index serves it
    .group_by(jobs.c.worker)
    .subquery()
)
_recent = (
    select(
        workers,
        tokens.c.uid.label("token_uid"),
        tokens.c.label.label("token_label"),
        func.coalesce(_leased.c.count, 0).label("leased"),
    )
    .join(tokens, tokens.c.id == workers.c.token_id, isouter=True)
    .join(_leased, _leased.c.worker == workers.c.name, isouter=True)
    .where(workers.c.seen_at >= bindparam("since"))
    .order_by(workers.c.started_at.desc(), workers.c.name)
)


def seen(connection: Connection, now: datetime) -> list[Seen]:
    """Return the workers that were heard of within GONE_AFTER, the latest first."""
    return [
        Seen(
            row.name,
            tuple(json.loads(row.generators)),
            row.started_at,
            row.seen_at,
            row.token_uid,
            row.token_label,
            row.leased,
        )
        for row in connection.execute(_recent, {"since": now - GONE_AFTER})
    ]
