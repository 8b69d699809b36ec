"""Who is served next: virtual time, so that nobody's hundred prompts hold back another's five.

Start-time fair queueing (Goyal, Vin and Cheng, 1996) with one clock for images that a round on screen waits for and one
for images made ahead. A job is one tick after its user's last that still waits in the same class, and never before the
clock. So users with jobs in the queue take turns; whoever comes back starts where the others are, with no credit for
having been away and no debt for what was made, or cancelled, before.

A clock stands at the last job that was leased, but never past one that still waits: where a quick model is far ahead of
a slow one, whoever comes would else wait behind all that waits for the slow one.

The front class goes first, but not always: after `AHEAD_EVERY` of its jobs one made ahead is served, so that a crowd
that never stops does not keep prefetching from ever being done.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import (
    ColumnElement,
    Connection,
    Float,
    bindparam,
    case,
    func,
    literal_column,
    select,
    union_all,
    update,
)

from pickapic.collect.tables import jobs, queue

ON_SCREEN = 0
AHEAD = 1
AHEAD_EVERY = 10

_CLOCKS = {ON_SCREEN: queue.c.virtual_time, AHEAD: queue.c.ahead_time}


def start(priority: int, owner: ColumnElement[int]) -> ColumnElement[float]:
    """Return the virtual time after which the next job of `owner` in a class comes, as a subquery."""
    mine = jobs.alias("mine")
    # As text and not as parameters, so that the partial index serves them.
    waiting = mine.c.state.in_((literal_column("'queued'"), literal_column("'leased'")))
    times = union_all(
        select(_CLOCKS[priority].label("at")).where(queue.c.id == 1),
        select(func.max(mine.c.virtual_time)).where(
            mine.c.user_id == owner, mine.c.priority == literal_column(str(priority)), waiting
        ),
    ).subquery("times")
    return select(func.coalesce(func.max(times.c.at), literal_column("0.0"))).scalar_subquery()


_passed = select(queue.c.passed).where(queue.c.id == 1)


def _moved(clock: ColumnElement[float], priority: int, name: str) -> ColumnElement[float]:
    """Return where a clock stands after jobs up to the time in parameter `name` were leased."""
    at = bindparam(name, type_=Float)
    waiting = (
        select(func.min(jobs.c.virtual_time))
        .where(
            # As text and not as parameters, so that the partial index serves it.
            jobs.c.state == literal_column("'queued'"),
            jobs.c.priority == literal_column(str(priority)),
        )
        .scalar_subquery()
    )
    reached = case((waiting < at, waiting), else_=at)
    return case((clock < reached, reached), else_=clock)


_advance = (
    update(queue)
    .where(queue.c.id == 1)
    .values(
        {
            queue.c.virtual_time: _moved(queue.c.virtual_time, ON_SCREEN, "screen"),
            queue.c.ahead_time: _moved(queue.c.ahead_time, AHEAD, "ahead"),
            queue.c.passed: case(
                (bindparam("made_ahead") > 0, 0), else_=queue.c.passed + bindparam("on_screen")
            ),
        }
    )
)


def is_turn_ahead(connection: Connection) -> bool:
    """Return whether a job made ahead has been passed over often enough to be served now."""
    return (connection.execute(_passed).scalar() or 0) >= AHEAD_EVERY


def advance(connection: Connection, leased: Sequence[tuple[int, float]]) -> None:
    """Move the clocks to jobs that were leased, each given by its class and its virtual time."""
    screen = [at for priority, at in leased if priority == ON_SCREEN]
    ahead = [at for priority, at in leased if priority == AHEAD]
    connection.execute(
        _advance,
        {
            "screen": max(screen, default=0.0),
            "ahead": max(ahead, default=0.0),
            "on_screen": len(screen),
            "made_ahead": len(ahead),
        },
    )
