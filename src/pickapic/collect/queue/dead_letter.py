"""Jobs that were given up or refused: why, and what an admin does about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, literal_column, or_, select, union_all, update

from pickapic.collect.plans import plan_for_values
from pickapic.collect.queue.jobs import CANCELLED, QUEUED
from pickapic.collect.tables import duels, jobs


@dataclass(frozen=True, slots=True)
class DeadJob:
    """A job that was given up (`dead`) or that its generator would not draw (`refused`), and why.

    `is_open`: its duel goes on, so it could be queued again.
    """

    id: int
    state: str
    generator: str
    prompt: str
    attempts: int
    finished_at: datetime | None
    error: str | None
    is_open: bool


# As text and not as parameters, so that the partial indexes serve them.
_is_dead = jobs.c.state == literal_column("'dead'")
_is_refused = jobs.c.state == literal_column("'refused'")


def _latest(condition: ColumnElement[bool], limit: int) -> ColumnElement[bool]:
    chosen = select(jobs.c.id).where(condition).order_by(jobs.c.id.desc()).limit(limit).subquery()
    return jobs.c.id.in_(select(chosen.c.id))


def dead_jobs(connection: Connection, limit: int = 100, refused: bool = False) -> list[DeadJob]:
    """Return the jobs that were given up, the latest first; with `refused` those too, up to `limit` of each."""
    columns = (
        jobs.c.id,
        jobs.c.state,
        jobs.c.generator,
        jobs.c.prompt,
        jobs.c.attempts,
        jobs.c.finished_at,
        jobs.c.error,
        (duels.c.state == "open").label("is_open"),
    )
    plan_for_values(connection)
    joined = select(*columns).join(duels, duels.c.id == jobs.c.duel_id)
    found = joined.where(_latest(_is_dead, limit))
    if refused:
        both = union_all(found, joined.where(_latest(_is_refused, limit))).subquery()
        rows = connection.execute(select(both).order_by(both.c.id.desc()))
    else:
        rows = connection.execute(found.order_by(jobs.c.id.desc()))
    return [DeadJob(*row) for row in rows]


def retry(connection: Connection, now: datetime, ids: Sequence[int] | None = None) -> int:
    """Queue jobs again as if new, where their duel is still open; return how many that are.

    Without `ids` all that were given up. What was refused has been ordered of another generator already, so only
    those named are asked for again.
    """
    chosen = _is_dead if ids is None else or_(_is_dead, _is_refused) & jobs.c.id.in_(ids)
    still_open = select(duels.c.id).where(duels.c.state == "open").scalar_subquery()
    again = {"state": QUEUED, "worker": None, "attempts": 0, "not_before": now, "created_at": now}
    return connection.execute(
        update(jobs).where(chosen, jobs.c.duel_id.in_(still_open)).values(**again, finished_at=None)
    ).rowcount


def give_up(connection: Connection, ids: Sequence[int] | None = None) -> int:
    """Take jobs off the list for good: those named, or all; return how many that are. Why they ended stays known."""
    chosen = or_(_is_dead, _is_refused)
    if ids is not None:
        chosen &= jobs.c.id.in_(ids)
    return connection.execute(update(jobs).where(chosen).values(state=CANCELLED)).rowcount
