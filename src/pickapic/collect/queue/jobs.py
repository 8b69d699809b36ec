"""The queue of images to make: leases with a heartbeat, so that a killed worker loses nothing.

Order: what a round on screen waits for comes first (priority 0), then what is made ahead (priority 1). Within
a priority, users take turns (clocks.py): one who queues a hundred prompts waits for them, and the next one does not.

A job is queued -> leased -> done; leased -> queued again when its worker fails or goes silent; leased ->
dead after too many attempts; queued or leased -> cancelled when its duel ends.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import (
    ColumnElement,
    Connection,
    Float,
    Row,
    and_,
    bindparam,
    case,
    func,
    insert,
    literal_column,
    not_,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.sql.dml import ReturningUpdate

from pickapic.collect.queue import clocks
from pickapic.collect.queue.clocks import AHEAD, ON_SCREEN
from pickapic.collect.tables import duels, gold_pairs, images, jobs
from pickapic.collect.writes import Writes

Kind = Literal["generate", "corrupt", "gold"]
GENERATE: Kind = "generate"
CORRUPT: Kind = "corrupt"
GOLD: Kind = "gold"
Role = Literal["better", "worse"]
BETTER: Role = "better"
WORSE: Role = "worse"

QUEUED = "queued"
LEASED = "leased"
DONE = "done"
CANCELLED = "cancelled"
DEAD = "dead"

ERROR_LENGTH = 500


@dataclass(frozen=True, slots=True)
class Order:
    """An image wanted: by which generator (a name in the settings), and with which parameters.

    Of kind `corrupt` it is a spoiled copy of the image `source_image_id`; of kind `gold` one image of the pair
    `gold_pair_id` of an admin's list, `role` says which. These know no generator and no guidance.
    """

    generator: str
    prompt: str
    negative_prompt: str
    guidance_scale: float
    steps: int
    seed: int
    kind: Kind = GENERATE
    source_image_id: int | None = None
    gold_pair_id: int | None = None
    role: Role | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """An order that a worker has leased; `attempts` counts this one.

    `size` is (width, height) of all images of its duel, None until the first is recorded. `source_sha256` is
    the stored file that a spoiled copy or an image of a list is made from.
    """

    id: int
    duel_id: int
    order: Order
    attempts: int
    priority: int = AHEAD
    size: tuple[int, int] | None = None
    source_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a job was for: an image of a duel, so urgent."""

    duel_id: int
    priority: int


# As text and not as parameters, so that the partial indexes serve them.
_is_queued = jobs.c.state == literal_column("'queued'")
_is_leased = jobs.c.state == literal_column("'leased'")
is_generate = jobs.c.kind == literal_column("'generate'")
"""Jobs whose image goes into the pool; only these are waited for, and counted."""

_owner = bindparam("owner", type_=jobs.c.user_id.type)
_insert = {
    priority: insert(jobs).values(
        virtual_time=clocks.start(priority, _owner) + bindparam("tick", type_=Float)
    )
    for priority in (ON_SCREEN, AHEAD)
}


def enqueue(
    connection: Connection, duel_id: int, user_id: int, orders: Sequence[tuple[Order, int]], now: datetime
) -> None:
    """Queue `orders`, each with its priority."""
    writes = Writes(connection)
    add(writes, duel_id, user_id, orders, now)
    writes.send()


def add(
    writes: Writes, duel_id: int, user_id: int, orders: Sequence[tuple[Order, int]], now: datetime
) -> None:
    """Do `enqueue` together with other changes; once in a bundle, since all start from the user's time before it."""
    ticks = {ON_SCREEN: 0, AHEAD: 0}
    for order, priority in orders:
        # Where each is made at once, the next starts from it.
        ticks[priority] = 1 if writes.at_once else ticks[priority] + 1
        writes.add(
            _insert[priority],
            duel_id=duel_id,
            user_id=user_id,
            owner=user_id,
            state=QUEUED,
            priority=priority,
            tick=float(ticks[priority]),
            generator=order.generator,
            prompt=order.prompt,
            negative_prompt=order.negative_prompt,
            guidance_scale=order.guidance_scale,
            steps=order.steps,
            seed=order.seed,
            kind=order.kind,
            source_image_id=order.source_image_id,
            gold_pair_id=order.gold_pair_id,
            role=order.role,
            not_before=now,
            created_at=now,
        )


_could_be_leased = and_(_is_queued, jobs.c.not_before <= bindparam("now"))
_for_these = jobs.c.generator.in_(bindparam("generators", expanding=True))
_waiting = {
    only: select(jobs.c.id).where(_could_be_leased, condition).limit(1)
    for only, condition in (
        ("all", true()),
        ("generators", and_(is_generate, _for_these)),
        ("asides", not_(is_generate)),
        ("both", or_(not_(is_generate), _for_these)),
    )
}


def is_waiting(
    connection: Connection, now: datetime, generators: Sequence[str] | None = None, asides: bool = True
) -> bool:
    """Return whether a job could be leased; cheaper than trying, and takes no lock. Arguments as of `lease`."""
    which, values = _which(generators, asides)
    return connection.execute(_waiting[which], {"now": now, **values}).first() is not None


def _which(generators: Sequence[str] | None, asides: bool) -> tuple[str, dict[str, Any]]:
    if generators is None:
        return "all", {}
    if not generators:
        return "asides" if asides else "generators", {} if asides else {"generators": []}
    return "both" if asides else "generators", {"generators": list(generators)}


def _lease_where(*conditions: ColumnElement[bool]) -> ReturningUpdate[Any, Any, Any]:
    return (
        update(jobs)
        .where(
            jobs.c.id.in_(
                select(jobs.c.id)
                .where(_could_be_leased, *conditions)
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
        .returning(jobs.c.id, jobs.c.priority, jobs.c.virtual_time)
    )


_is_ahead = jobs.c.priority == literal_column(str(AHEAD))
_lease, _lease_ahead = (
    {
        "all": _lease_where(*only),
        "generators": _lease_where(is_generate, _for_these, *only),
        "asides": _lease_where(not_(is_generate), *only),
        "both": _lease_where(or_(not_(is_generate), _for_these), *only),
    }
    for only in ((), (_is_ahead,))
)
# What a lease may not return: RETURNING knows only the jobs themselves.
_leased = (
    select(
        jobs,
        duels.c.image_width,
        duels.c.image_height,
        images.c.sha256.label("copied_sha256"),
        gold_pairs.c.better_sha256,
        gold_pairs.c.worse_sha256,
    )
    .join(duels, duels.c.id == jobs.c.duel_id)
    .join(images, images.c.id == jobs.c.source_image_id, isouter=True)
    .join(gold_pairs, gold_pairs.c.id == jobs.c.gold_pair_id, isouter=True)
    .where(jobs.c.id.in_(bindparam("ids", expanding=True)))
    .order_by(jobs.c.priority, jobs.c.virtual_time, jobs.c.id)
)


def lease(
    connection: Connection,
    worker: str,
    count: int,
    seconds: float,
    now: datetime,
    generators: Sequence[str] | None = None,
    asides: bool = True,
) -> list[Job]:
    """Give `worker` up to `count` jobs for `seconds`, in order of service.

    Only those of `generators` (None: of any); with `asides` those too that need no generator.
    """
    which, values = _which(generators, asides)
    values |= {"now": now, "worker_name": worker, "until": now + timedelta(seconds=seconds)}
    rows: list[Row[*tuple[Any, ...]]] = []
    if clocks.is_turn_ahead(connection):
        rows += connection.execute(_lease_ahead[which], {"count": 1, **values}).all()
    if len(rows) < count:
        rows += connection.execute(_lease[which], {"count": count - len(rows), **values}).all()
    if not rows:
        return []
    clocks.advance(connection, [(row.priority, row.virtual_time) for row in rows])
    ids = [row.id for row in rows]
    return [_read_job(row) for row in connection.execute(_leased, {"ids": ids})]


def _read_job(row: Row[Any]) -> Job:
    source = row.copied_sha256
    if row.kind == GOLD:
        source = row.better_sha256 if row.role == BETTER else row.worse_sha256
    return Job(
        id=row.id,
        duel_id=row.duel_id,
        order=Order(
            row.generator,
            row.prompt,
            row.negative_prompt,
            row.guidance_scale,
            row.steps,
            row.seed,
            row.kind,
            row.source_image_id,
            row.gold_pair_id,
            row.role,
        ),
        attempts=row.attempts,
        priority=row.priority,
        size=(row.image_width, row.image_height) if row.image_width else None,
        source_sha256=source,
    )


_mine = and_(
    jobs.c.id.in_(bindparam("ids", expanding=True)),
    jobs.c.state == LEASED,
    jobs.c.worker == bindparam("worker_name"),
)
_heartbeat = update(jobs).where(_mine).values(lease_until=bindparam("until")).returning(jobs.c.id)
_finish = (
    update(jobs)
    .where(
        jobs.c.id.in_(bindparam("ids", expanding=True)),
        # Queued again since its worker was silent for too long, but nobody else has leased it yet.
        jobs.c.state.in_((LEASED, QUEUED)),
        jobs.c.worker == bindparam("worker_name"),
    )
    .values(state=DONE, finished_at=bindparam("now"), seconds=bindparam("each"), error=None)
    .returning(jobs.c.id, jobs.c.duel_id, jobs.c.priority)
)
_given_back = {"state": QUEUED, "worker": None, "attempts": jobs.c.attempts - 1}
_release = update(jobs).where(_mine).values(_given_back)
_release_others = (
    update(jobs)
    .where(
        _is_leased,
        jobs.c.worker == bindparam("worker_name"),
        jobs.c.id.not_in(bindparam("held", expanding=True)),
    )
    .values(_given_back)
)


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
) -> dict[int, Wanted]:
    """Mark jobs as done, `seconds` spent on each; return those that were still this worker's: only they count."""
    if not ids:
        return {}
    rows = connection.execute(_finish, {"ids": list(ids), "worker_name": worker, "now": now, "each": seconds})
    return {row.id: Wanted(row.duel_id, row.priority) for row in rows}


def release(connection: Connection, worker: str, ids: Collection[int]) -> None:
    """Give jobs back unmade, as if they had never been leased."""
    if ids:
        connection.execute(_release, {"ids": list(ids), "worker_name": worker})


def release_others(connection: Connection, worker: str, held: Collection[int]) -> None:
    """Give back what is leased to a worker that does not know of it, since an answer to it was lost."""
    connection.execute(_release_others, {"held": list(held), "worker_name": worker})


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
    .where(
        jobs.c.duel_id == bindparam("duel_key"),
        jobs.c.state == QUEUED,
        jobs.c.priority == AHEAD,
        is_generate,
    )
    .order_by(jobs.c.virtual_time, jobs.c.id)
    .limit(bindparam("count"))
)
_promote = (
    update(jobs)
    .where(jobs.c.id.in_(_first_ahead.scalar_subquery()))
    .values(priority=ON_SCREEN, virtual_time=clocks.start(ON_SCREEN, _owner) + 1.0)
)


def promote(connection: Connection, duel_id: int, user_id: int, count: int) -> None:
    """Move up to `count` jobs of a user's duel to the front class: its screen is waiting for them."""
    if count > 0:
        connection.execute(_promote, {"duel_key": duel_id, "owner": user_id, "count": count})


_depths = {
    state: select(func.count()).select_from(jobs).where(jobs.c.state == literal_column(f"'{state}'"))
    for state in (QUEUED, LEASED, DEAD)
}


def depths(connection: Connection) -> dict[str, int]:
    """Return how many jobs are queued, leased and dead."""
    return {state: connection.execute(count).scalar_one() for state, count in _depths.items()}
