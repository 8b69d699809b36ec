"""How the making of images stands, in figures for machinery: what waits, since when, who works, who is benched.

All of it by partial indexes and by the last minutes of an index of times: a million finished jobs cost nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, func, literal_column, select, union

from pickapic.collect.queue import jobs as queue
from pickapic.collect.tables import breakers, jobs, workers

RECENT = timedelta(minutes=5)
MOST = 50_000
"""So many of the latest jobs are counted as recent at most."""


@dataclass(frozen=True, slots=True)
class Recent:
    """What became of the jobs of one generator that ended within RECENT: how many, and seconds spent on all.

    A spoiled copy or an image of a list has no generator: its kind stands there.
    """

    generator: str
    state: str
    jobs: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Condition:
    """The queue now: `depths` by state, seconds that the oldest job has waited (0 if none), workers that are alive.

    `benched` are the generators that are not drawn for now because their provider fails.
    """

    depths: dict[str, int]
    oldest_seconds: float
    workers: int
    benched: tuple[str, ...]
    recent: tuple[Recent, ...]


# As text and not as parameters, so that the partial indexes serve them.
_oldest = select(func.min(jobs.c.created_at)).where(jobs.c.state == literal_column("'queued'"))
_alive = select(func.count()).select_from(
    union(
        select(workers.c.name).where(workers.c.seen_at >= bindparam("since")),
        # One that draws for minutes says nothing meanwhile but that its leases go on.
        select(jobs.c.worker).where(
            jobs.c.state == literal_column("'leased'"), jobs.c.lease_until >= bindparam("now")
        ),
    ).subquery()
)
_benched = (
    select(breakers.c.name).where(breakers.c.benched_until > bindparam("now")).order_by(breakers.c.name)
)
# In order and up to a number, or PostgreSQL, which does not know how few they are, would begin to work in parallel.
_ended = (
    select(jobs.c.generator, jobs.c.kind, jobs.c.state, jobs.c.seconds)
    .where(jobs.c.finished_at >= bindparam("since"))
    .order_by(jobs.c.finished_at.desc())
    .limit(literal_column(str(MOST)))
    .subquery()
)
_name = func.coalesce(func.nullif(_ended.c.generator, ""), _ended.c.kind).label("name")
_recent = (
    select(_name, _ended.c.state, func.count().label("number"), func.sum(_ended.c.seconds).label("seconds"))
    .group_by(_name, _ended.c.state)
    .order_by(_name, _ended.c.state)
)


def look(connection: Connection, now: datetime, lease_seconds: float) -> Condition:
    """Return the condition at `now`; a worker is alive that was heard of within `lease_seconds` or holds a lease."""
    oldest: datetime | None = connection.execute(_oldest).scalar_one()
    heard = {"now": now, "since": now - timedelta(seconds=lease_seconds)}
    ended = connection.execute(_recent, {"since": now - RECENT})
    return Condition(
        depths=queue.depths(connection),
        oldest_seconds=max(0.0, (now - oldest).total_seconds()) if oldest else 0.0,
        workers=connection.execute(_alive, heard).scalar_one(),
        benched=tuple(connection.execute(_benched, {"now": now}).scalars()),
        recent=tuple(Recent(row.name, row.state, row.number, row.seconds or 0.0) for row in ended),
    )
