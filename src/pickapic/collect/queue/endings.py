"""What becomes of a leased job that ends without an image, and of jobs that nobody can make: as its row says it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, literal_column, select, update

from pickapic.collect.queue.jobs import DEAD, ERROR_LENGTH, LEASED, QUEUED, Order
from pickapic.collect.tables import jobs

REFUSED = "refused"
RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Leased:
    """A job that a worker holds, as its row says; `attempts` counts this one."""

    id: int
    duel_id: int
    user_id: int
    kind: str
    generator: str
    attempts: int
    priority: int
    created_at: datetime


_leased_to = select(
    jobs.c.id,
    jobs.c.duel_id,
    jobs.c.user_id,
    jobs.c.kind,
    jobs.c.generator,
    jobs.c.attempts,
    jobs.c.priority,
    jobs.c.created_at,
).where(
    jobs.c.id.in_(bindparam("ids", expanding=True)),
    jobs.c.state == LEASED,
    jobs.c.worker == bindparam("worker_name"),
)


def leased_to(connection: Connection, worker: str, ids: Collection[int]) -> dict[int, Leased]:
    """Return those of `ids` that `worker` holds."""
    rows = connection.execute(_leased_to, {"ids": list(ids), "worker_name": worker})
    return {row.id: Leased(*row) for row in rows}


def fail(connection: Connection, job: Leased, error: str, max_attempts: int, now: datetime) -> str:
    """Queue a failed job again, later each time, or let it die; return its new state."""
    dies = job.attempts >= max_attempts
    connection.execute(
        update(jobs)
        .where(jobs.c.id == job.id)
        .values(
            state=DEAD if dies else QUEUED,
            worker=jobs.c.worker if dies else None,
            error=error[:ERROR_LENGTH],
            not_before=now + timedelta(seconds=RETRY_SECONDS * 2 ** (job.attempts - 1)),
            finished_at=now if dies else None,
        )
    )
    return DEAD if dies else QUEUED


# As text and not as a parameter, so that the partial index serves it.
_is_queued = jobs.c.state == literal_column("'queued'")
_one = update(jobs).where(jobs.c.id == bindparam("key"))
_end = _one.values(state=bindparam("as_state"), error=bindparam("why"), finished_at=bindparam("now"))
_put_off = _one.values(
    state=QUEUED,
    worker=None,
    attempts=jobs.c.attempts - 1,
    error=bindparam("why"),
    not_before=bindparam("later"),
)
_redraw = _one.values(
    state=QUEUED,
    worker=None,
    attempts=bindparam("tries"),
    error=bindparam("why"),
    generator=bindparam("by"),
    negative_prompt=bindparam("without"),
    guidance_scale=bindparam("guidance"),
    steps=bindparam("step_count"),
    seed=bindparam("new_seed"),
)
_reseed = _one.values(state=QUEUED, worker=None, error=bindparam("why"), seed=bindparam("new_seed"))


def refuse(connection: Connection, job_id: int, why: str, now: datetime) -> None:
    """End a job whose generator will not draw it."""
    connection.execute(_end, {"key": job_id, "as_state": REFUSED, "why": why[:ERROR_LENGTH], "now": now})


def die(connection: Connection, job_id: int, why: str, now: datetime) -> None:
    """Give a job up."""
    connection.execute(_end, {"key": job_id, "as_state": DEAD, "why": why[:ERROR_LENGTH], "now": now})


def put_off(connection: Connection, job_id: int, why: str, later: datetime) -> None:
    """Queue a job again for a later time, as never leased: nobody could have made it."""
    connection.execute(_put_off, {"key": job_id, "why": why[:ERROR_LENGTH], "later": later})


def redraw(connection: Connection, job_id: int, order: Order, attempts: int, why: str) -> None:
    """Queue a job again for another generator; `attempts` so far."""
    values = {
        "key": job_id,
        "tries": attempts,
        "why": why[:ERROR_LENGTH],
        "by": order.generator,
        "without": order.negative_prompt,
        "guidance": order.guidance_scale,
        "step_count": order.steps,
        "new_seed": order.seed,
    }
    connection.execute(_redraw, values)


def reseed(connection: Connection, job_id: int, seed: int, why: str) -> None:
    """Queue a job again with another seed; the attempt counts."""
    connection.execute(_reseed, {"key": job_id, "new_seed": seed, "why": why[:ERROR_LENGTH]})


_old = select(jobs.c.id, jobs.c.duel_id, jobs.c.generator).where(
    _is_queued,
    jobs.c.generator.in_(bindparam("names", expanding=True)),
    jobs.c.created_at < bindparam("before"),
)


def too_old(
    connection: Connection, generators: Sequence[str], before: datetime
) -> list[tuple[int, int, str]]:
    """Return (job, duel, generator) of what has waited for these generators since before a time."""
    values = {"names": list(generators), "before": before}
    return [(row.id, row.duel_id, row.generator) for row in connection.execute(_old, values)]


_waited_for = (
    select(jobs.c.generator)
    .where(_is_queued, jobs.c.kind == literal_column("'generate'"), jobs.c.created_at < bindparam("before"))
    .distinct()
)


def waited_for(connection: Connection, before: datetime) -> set[str]:
    """Return the generators that something has waited for since before a time."""
    return set(connection.execute(_waited_for, {"before": before}).scalars())
