"""Where a duel stands in the queue, and an honest estimate of its time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, and_, bindparam, func, literal_column, or_, select, tuple_

from pickapic.collect.jobs import DONE, LEASED, QUEUED, is_generate
from pickapic.collect.tables import jobs

PACE_JOBS = 50
PACE_SECONDS = 300.0
DEFAULT_SECONDS_PER_JOB = 1.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a duel's next image stands: jobs before it in the queue, and an estimate of seconds until it is made."""

    position: int
    eta_s: float


_ahead_of_me = jobs.alias("ahead_of_me")
_to_come = (
    select(
        jobs.c.state,
        select(func.count())
        .select_from(_ahead_of_me)
        .where(
            _ahead_of_me.c.state == literal_column("'queued'"),
            or_(
                _ahead_of_me.c.priority < jobs.c.priority,
                and_(
                    _ahead_of_me.c.priority == jobs.c.priority,
                    tuple_(_ahead_of_me.c.virtual_time, _ahead_of_me.c.id)
                    < tuple_(jobs.c.virtual_time, jobs.c.id),
                ),
            ),
        )
        .scalar_subquery()
        .label("ahead"),
    )
    .where(jobs.c.duel_id == bindparam("duel_key"), jobs.c.state.in_((QUEUED, LEASED)), is_generate)
    .order_by(jobs.c.state != LEASED, jobs.c.priority, jobs.c.virtual_time, jobs.c.id)
    .offset(bindparam("before"))
    .limit(1)
)


def place(connection: Connection, duel_id: int, needed: int, now: datetime) -> Place:
    """Return where the `needed`-th image to come of a duel stands: (0, one image's time) once it is in the making."""
    pace = seconds_per_job(connection, now)
    row = connection.execute(_to_come, {"duel_key": duel_id, "before": max(needed - 1, 0)}).first()
    if row is None or row.state == LEASED:
        return Place(0, round(pace, 2))
    return Place(row.ahead, round((row.ahead + 1) * pace, 2))


_recent = (
    select(jobs.c.seconds, jobs.c.worker)
    .where(jobs.c.finished_at > bindparam("since"), jobs.c.state == DONE)
    .order_by(jobs.c.finished_at.desc())
    .limit(PACE_JOBS)
    .subquery()
)
_pace = select(func.avg(_recent.c.seconds), func.count(_recent.c.worker.distinct()))


def seconds_per_job(connection: Connection, now: datetime) -> float:
    """Return the queue's pace: mean seconds of the last jobs over the number of workers that did them.

    One figure for the whole queue: it says nothing about the model that a duel waits for.
    """
    mean, workers = connection.execute(_pace, {"since": now - timedelta(seconds=PACE_SECONDS)}).one()
    return float(mean) / workers if mean is not None else DEFAULT_SECONDS_PER_JOB
