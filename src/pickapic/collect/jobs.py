"""The queue of images to make: leases with a heartbeat, so that a killed worker loses nothing.

Order: what a round on screen waits for comes first (priority 0), then what is made ahead (priority 1).
Within a priority, by virtual time: each job of a user is one tick after the user's last, and never before
the point up to which the queue has been served. So a user who queues a hundred prompts waits for them, and
the next one does not.

A job is queued -> leased -> done; leased -> queued again when its worker fails or goes silent; leased ->
dead after too many attempts; queued or leased -> cancelled when its duel ends.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import (
    Connection,
    and_,
    bindparam,
    case,
    func,
    insert,
    literal_column,
    or_,
    select,
    tuple_,
    update,
)

from pickapic.collect.tables import jobs, queue, users

ON_SCREEN = 0
AHEAD = 1

QUEUED = "queued"
LEASED = "leased"
DONE = "done"
CANCELLED = "cancelled"
DEAD = "dead"

RETRY_SECONDS = 1.0
PACE_JOBS = 50
PACE_SECONDS = 300.0
DEFAULT_SECONDS_PER_JOB = 1.0
ERROR_LENGTH = 500


@dataclass(frozen=True, slots=True)
class Order:
    """An image wanted: by which generator (a name in the settings), and with which parameters."""

    generator: str
    prompt: str
    negative_prompt: str
    guidance_scale: float
    steps: int
    seed: int


@dataclass(frozen=True, slots=True)
class Job:
    """An order that a worker has leased; `attempts` counts this one."""

    id: int
    duel_id: int
    order: Order
    attempts: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a duel's next image stands: jobs before it in the queue, and an estimate of seconds until it is made."""

    position: int
    eta_s: float


# As text and not as parameters, so that the partial indexes serve them.
_is_queued = jobs.c.state == literal_column("'queued'")
_is_leased = jobs.c.state == literal_column("'leased'")

_queue_time = func.coalesce(
    select(queue.c.virtual_time).where(queue.c.id == 1).scalar_subquery(), literal_column("0.0")
)
_take_ticks = (
    update(users)
    .where(users.c.id == bindparam("key"))
    .values(
        virtual_time=case((users.c.virtual_time > _queue_time, users.c.virtual_time), else_=_queue_time)
        + bindparam("ticks")
    )
    .returning(users.c.virtual_time)
)
_insert = insert(jobs)


def enqueue(
    connection: Connection, duel_id: int, user_id: int, orders: Sequence[tuple[Order, int]], now: datetime
) -> None:
    """Queue `orders`, each with its priority."""
    if not orders:
        return
    ticks = {"key": user_id, "ticks": float(len(orders))}
    start = connection.execute(_take_ticks, ticks).scalar_one() - len(orders)
    connection.execute(
        _insert,
        [
            {
                "duel_id": duel_id,
                "user_id": user_id,
                "state": QUEUED,
                "priority": priority,
                "virtual_time": start + tick,
                "generator": order.generator,
                "prompt": order.prompt,
                "negative_prompt": order.negative_prompt,
                "guidance_scale": order.guidance_scale,
                "steps": order.steps,
                "seed": order.seed,
                "not_before": now,
                "created_at": now,
            }
            for tick, (order, priority) in enumerate(orders, start=1)
        ],
    )


_waiting = select(jobs.c.id).where(_is_queued, jobs.c.not_before <= bindparam("now")).limit(1)


def is_waiting(connection: Connection, now: datetime) -> bool:
    """Return whether a job could be leased; cheaper than trying, and takes no lock."""
    return connection.execute(_waiting, {"now": now}).first() is not None


_lease = (
    update(jobs)
    .where(
        jobs.c.id.in_(
            select(jobs.c.id)
            .where(_is_queued, jobs.c.not_before <= bindparam("now"))
            .order_by(jobs.c.priority, jobs.c.virtual_time, jobs.c.id)
            .limit(bindparam("count"))
            .with_for_update(skip_locked=True)
            .scalar_subquery()
        )
    )
    .values(
        state=LEASED,
        worker=bindparam("worker_name"),
        leased_at=bindparam("now"),
        lease_until=bindparam("until"),
        attempts=jobs.c.attempts + 1,
    )
    .returning(
        jobs.c.id,
        jobs.c.duel_id,
        jobs.c.priority,
        jobs.c.virtual_time,
        jobs.c.generator,
        jobs.c.prompt,
        jobs.c.negative_prompt,
        jobs.c.guidance_scale,
        jobs.c.steps,
        jobs.c.seed,
        jobs.c.attempts,
    )
)
_advance_queue = (
    update(queue)
    .where(queue.c.id == 1, queue.c.virtual_time < bindparam("served"))
    .values(virtual_time=bindparam("served"))
)


def lease(connection: Connection, worker: str, count: int, seconds: float, now: datetime) -> list[Job]:
    """Give `worker` up to `count` jobs for `seconds`, in order of service."""
    rows = connection.execute(
        _lease,
        {"now": now, "count": count, "worker_name": worker, "until": now + timedelta(seconds=seconds)},
    ).all()
    if not rows:
        return []
    rows = sorted(rows, key=lambda row: (row.priority, row.virtual_time, row.id))
    # Only what was next in line moves the clock: work done ahead would carry it past users who still wait.
    connection.execute(_advance_queue, {"served": min(row.virtual_time for row in rows)})
    return [
        Job(
            id=row.id,
            duel_id=row.duel_id,
            order=Order(
                row.generator, row.prompt, row.negative_prompt, row.guidance_scale, row.steps, row.seed
            ),
            attempts=row.attempts,
        )
        for row in rows
    ]


_mine = and_(
    jobs.c.id.in_(bindparam("ids", expanding=True)),
    jobs.c.state == LEASED,
    jobs.c.worker == bindparam("worker_name"),
)
_heartbeat = update(jobs).where(_mine).values(lease_until=bindparam("until")).returning(jobs.c.id)
_finish = (
    update(jobs)
    .where(_mine)
    .values(state=DONE, finished_at=bindparam("now"), seconds=bindparam("each"), error=None)
    .returning(jobs.c.id)
)
_release = update(jobs).where(_mine).values(state=QUEUED, worker=None, attempts=jobs.c.attempts - 1)


def heartbeat(
    connection: Connection, worker: str, ids: Collection[int], seconds: float, now: datetime
) -> set[int]:
    """Prolong the leases of `ids`; return those that are still this worker's."""
    rows = connection.execute(
        _heartbeat, {"ids": list(ids), "worker_name": worker, "until": now + timedelta(seconds=seconds)}
    )
    return set(rows.scalars())


def finish(
    connection: Connection, worker: str, ids: Collection[int], seconds: float, now: datetime
) -> set[int]:
    """Mark jobs as done, `seconds` spent on each; return those that were still this worker's: only they count."""
    if not ids:
        return set()
    rows = connection.execute(_finish, {"ids": list(ids), "worker_name": worker, "now": now, "each": seconds})
    return set(rows.scalars())


def release(connection: Connection, worker: str, ids: Collection[int]) -> None:
    """Give jobs back unmade, as if they had never been leased."""
    if ids:
        connection.execute(_release, {"ids": list(ids), "worker_name": worker})


def fail(
    connection: Connection, worker: str, job: Job, error: str, max_attempts: int, now: datetime
) -> str | None:
    """Queue a failed job again, later each time, or let it die; return its new state, None if it was not ours."""
    dies = job.attempts >= max_attempts
    result = connection.execute(
        update(jobs)
        .where(jobs.c.id == job.id, jobs.c.state == LEASED, jobs.c.worker == worker)
        .values(
            state=DEAD if dies else QUEUED,
            error=error[:ERROR_LENGTH],
            not_before=now + timedelta(seconds=RETRY_SECONDS * 2 ** (job.attempts - 1)),
            finished_at=now if dies else None,
        )
    )
    if not result.rowcount:
        return None
    return DEAD if dies else QUEUED


def requeue_expired(connection: Connection, max_attempts: int, now: datetime) -> list[int]:
    """Take back jobs whose worker went silent; return the duels in which one died of it."""
    rows = connection.execute(
        update(jobs)
        .where(_is_leased, jobs.c.lease_until < now)
        .values(
            state=case((jobs.c.attempts >= max_attempts, DEAD), else_=QUEUED),
            error="its worker went silent",
            finished_at=case((jobs.c.attempts >= max_attempts, now), else_=None),
        )
        .returning(jobs.c.duel_id, jobs.c.state)
    ).all()
    return [row.duel_id for row in rows if row.state == DEAD]


_cancel = (
    update(jobs)
    .where(jobs.c.duel_id == bindparam("duel_key"), jobs.c.state.in_((QUEUED, LEASED)))
    .values(state=CANCELLED)
)


def cancel(connection: Connection, duel_id: int) -> int:
    """Cancel what is not yet made for a duel; return how many jobs that were."""
    return connection.execute(_cancel, {"duel_key": duel_id}).rowcount


_first_ahead = (
    select(jobs.c.id)
    .where(jobs.c.duel_id == bindparam("duel_key"), jobs.c.state == QUEUED, jobs.c.priority == AHEAD)
    .order_by(jobs.c.virtual_time, jobs.c.id)
    .limit(bindparam("count"))
)
_promote = update(jobs).where(jobs.c.id.in_(_first_ahead.scalar_subquery())).values(priority=ON_SCREEN)


def promote(connection: Connection, duel_id: int, count: int) -> None:
    """Move up to `count` jobs of a duel to the front class: its screen is waiting for them."""
    if count > 0:
        connection.execute(_promote, {"duel_key": duel_id, "count": count})


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
    .where(jobs.c.duel_id == bindparam("duel_key"), jobs.c.state.in_((QUEUED, LEASED)))
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
    """Return the queue's pace: mean seconds of the last jobs over the number of workers that did them."""
    mean, workers = connection.execute(_pace, {"since": now - timedelta(seconds=PACE_SECONDS)}).one()
    return float(mean) / workers if mean is not None else DEFAULT_SECONDS_PER_JOB


_depths = {
    state: select(func.count()).select_from(jobs).where(jobs.c.state == literal_column(f"'{state}'"))
    for state in (QUEUED, LEASED, DEAD)
}


def depths(connection: Connection) -> dict[str, int]:
    """Return how many jobs are queued, leased and dead."""
    return {state: connection.execute(count).scalar_one() for state, count in _depths.items()}
