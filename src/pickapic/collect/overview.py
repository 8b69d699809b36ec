"""Numbers and lists for whoever runs a collection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, func, literal_column, select, update

from pickapic.collect import jobs as queue
from pickapic.collect.plans import plan_for_values
from pickapic.collect.tables import duels, images, jobs, rounds, users

# As text and not as a parameter, so that the partial index serves it.
_is_dead = jobs.c.state == literal_column("'dead'")


@dataclass(frozen=True, slots=True)
class Stats:
    """How much there is of everything."""

    users: int
    duels_open: int
    duels_closed: int
    duels_failed: int
    images: int
    rounds_answered: int
    ties: int
    rounds_skipped: int
    jobs_queued: int
    jobs_leased: int
    jobs_dead: int


@dataclass(frozen=True, slots=True)
class DeadJob:
    """A job that was given up, and why."""

    id: int
    generator: str
    prompt: str
    attempts: int
    finished_at: datetime | None
    error: str | None


def stats(connection: Connection) -> Stats:
    """Count everything."""
    by_duel_state = _counts(connection, duels.c.state)
    by_round_state = _counts(connection, rounds.c.state)
    by_pick = _counts(connection, rounds.c.pick)
    depths = queue.depths(connection)
    return Stats(
        users=connection.execute(select(func.count()).select_from(users)).scalar_one(),
        duels_open=by_duel_state.get("open", 0),
        duels_closed=by_duel_state.get("closed", 0),
        duels_failed=by_duel_state.get("failed", 0),
        images=connection.execute(select(func.count()).select_from(images)).scalar_one(),
        rounds_answered=by_round_state.get("answered", 0),
        ties=by_pick.get("tie", 0),
        rounds_skipped=by_round_state.get("skipped", 0),
        jobs_queued=depths[queue.QUEUED],
        jobs_leased=depths[queue.LEASED],
        jobs_dead=depths[queue.DEAD],
    )


def dead_jobs(connection: Connection, limit: int = 100) -> list[DeadJob]:
    """Return the jobs that were given up, the latest first."""
    columns = (
        jobs.c.id,
        jobs.c.generator,
        jobs.c.prompt,
        jobs.c.attempts,
        jobs.c.finished_at,
        jobs.c.error,
    )
    plan_for_values(connection)
    rows = connection.execute(select(*columns).where(_is_dead).order_by(jobs.c.id.desc()).limit(limit))
    return [DeadJob(*row) for row in rows]


def retry(connection: Connection, now: datetime, ids: Sequence[int] | None = None) -> int:
    """Queue given-up jobs again (all, or `ids`) as if new, where their duel is still open; return how many."""
    chosen = _is_dead
    if ids is not None:
        chosen &= jobs.c.id.in_(ids)
    still_open = select(duels.c.id).where(duels.c.state == "open").scalar_subquery()
    return connection.execute(
        update(jobs)
        .where(chosen, jobs.c.duel_id.in_(still_open))
        .values(state=queue.QUEUED, attempts=0, not_before=now, finished_at=None)
    ).rowcount


def _counts(connection: Connection, column: Column[Any]) -> dict[str, int]:
    rows = connection.execute(select(column, func.count()).group_by(column))
    return {row[0]: row[1] for row in rows if row[0] is not None}
