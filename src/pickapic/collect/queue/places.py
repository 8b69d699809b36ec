"""Where a duel stands in the queue, and an honest estimate of its time.

Generators that take turns somewhere (`workers.rooms`) share their time, so what waits for one of them waits for all;
what waits for others is somebody else's affair. A slow provider ahead in the queue delays nobody who waits for another.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, func, literal_column, or_, select, tuple_

from pickapic.collect.queue import breakers, workers
from pickapic.collect.queue.jobs import DONE, LEASED, QUEUED, is_generate
from pickapic.collect.tables import jobs

PACE_JOBS = 50
PACE_SECONDS = 300.0
DEFAULT_SECONDS_PER_JOB = 1.0
PLAYED = 200
"""So many jobs stand for all that are ahead."""
ALIVE_SECONDS = 120.0
"""A worker that was silent for so long is not counted on."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a duel's next image stands: jobs before it in the queue, and an estimate of seconds until it is made."""

    position: int
    eta_s: float


_awaited = (
    select(jobs.c.id, jobs.c.state, jobs.c.generator, jobs.c.priority, jobs.c.virtual_time)
    .where(jobs.c.duel_id == bindparam("duel_key"), jobs.c.state.in_((QUEUED, LEASED)), is_generate)
    .order_by(jobs.c.state != LEASED, jobs.c.priority, jobs.c.virtual_time, jobs.c.id)
    .offset(bindparam("before"))
    .limit(1)
)
_ahead = (
    select(jobs.c.generator, func.count().label("number"))
    .where(
        # As text and not as a parameter, so that the partial index serves it.
        jobs.c.state == literal_column("'queued'"),
        or_(
            jobs.c.priority < bindparam("class"),
            and_(
                jobs.c.priority == bindparam("class"),
                tuple_(jobs.c.virtual_time, jobs.c.id) < tuple_(bindparam("at"), bindparam("key")),
            ),
        ),
    )
    .group_by(jobs.c.generator)
)
_in_the_making = (
    select(jobs.c.generator, func.count().label("number"))
    .where(jobs.c.state == literal_column("'leased'"))
    .group_by(jobs.c.generator)
)


def place(connection: Connection, duel_id: int, needed: int, now: datetime) -> Place:
    """Return where the `needed`-th image to come of a duel stands: (0, one image's time) once it is in the making."""
    row = connection.execute(_awaited, {"duel_key": duel_id, "before": max(needed - 1, 0)}).first()
    rooms = workers.rooms(connection, now - timedelta(seconds=ALIVE_SECONDS))
    sharing, at_once = _sharing(rooms, row.generator) if row else (frozenset[str](), 0)
    if row is None or not at_once:
        return _place_in_all(connection, row, now)
    paces = _paces(connection, sharing, now)
    own = paces[row.generator]
    if row.state == LEASED:
        return Place(0, round(own, 2))
    ahead = _count_ahead(connection, row)
    making = Counter({made.generator: made.number for made in connection.execute(_in_the_making)})
    shared = [room for room in rooms if room[0] & sharing]
    wait = _wait(row.generator, ahead, making, shared, paces)
    return Place(ahead.total(), round(_benched(connection, row.generator, now) + wait + own, 2))


def _wait(
    name: str,
    ahead: Mapping[str, int],
    making: Mapping[str, int],
    rooms: Sequence[tuple[frozenset[str], int]],
    paces: Mapping[str, float],
) -> float:
    """Return the seconds until a hand is free for a job of `name`, by playing it through.

    Every free hand takes the first job that it can make. Of those that are being made half is done, on average. What is
    ahead is taken to be mixed evenly; of a long queue each job played stands for several.
    """
    hands = [(0.0, number) for number in range(sum(at_once for _, at_once in rooms))]
    can = [names for names, at_once in rooms for _ in range(at_once)]
    jobs_at_work = [other for other in paces for _ in range(making.get(other, 0))]
    scale = max(1.0, sum(ahead.get(other, 0) for other in paces) / PLAYED)
    line: dict[str, deque[tuple[float, float]]] = {other: deque() for other in paces}
    for index, other in enumerate(jobs_at_work):
        done = 0.5 if index < len(hands) else 0.0
        line[other].append((index - len(jobs_at_work), paces[other] * (1 - done)))
    for other in paces:
        count = round(ahead.get(other, 0) / scale)
        line[other].extend(((index + 0.5) / count, paces[other] * scale) for index in range(count))
    last = (2.0, 0.0)
    line[name].append(last)
    while hands:
        at, number = heapq.heappop(hands)
        mine = [other for other in can[number] if line.get(other)]
        if mine:
            chosen = line[min(mine, key=lambda other: line[other][0])].popleft()
            if chosen is last:
                return at
            heapq.heappush(hands, (at + chosen[1], number))
    return 0.0


def _place_in_all(connection: Connection, row: Row[*tuple[Any, ...]] | None, now: datetime) -> Place:
    """Return the place by the pace of the whole queue, for want of knowing who makes what."""
    pace = seconds_per_job(connection, now)
    if row is None or row.state == LEASED:
        return Place(0, round(pace, 2))
    ahead = _count_ahead(connection, row).total()
    return Place(ahead, round((ahead + 1) * pace, 2))


def _count_ahead(connection: Connection, row: Row[*tuple[Any, ...]]) -> Counter[str]:
    values = {"class": row.priority, "at": row.virtual_time, "key": row.id}
    return Counter({found.generator: found.number for found in connection.execute(_ahead, values)})


def _sharing(rooms: Sequence[tuple[frozenset[str], int]], name: str) -> tuple[frozenset[str], int]:
    """Return the generators that share rooms with one, directly or by others, and how many images they make at once."""
    found = {name}
    joined: set[int] = set()
    while more := {
        index for index, (names, _) in enumerate(rooms) if index not in joined and not found.isdisjoint(names)
    }:
        joined |= more
        found |= {other for index in more for other in rooms[index][0]}
    return frozenset(found), sum(rooms[index][1] for index in joined)


_latest = (
    select(jobs.c.seconds, jobs.c.generator)
    .where(
        jobs.c.finished_at > bindparam("since"),
        jobs.c.state == DONE,
        jobs.c.generator.in_(bindparam("names", expanding=True)),
    )
    .order_by(jobs.c.finished_at.desc())
    .limit(4 * PACE_JOBS)
    .subquery()
)
_means = select(_latest.c.generator, func.avg(_latest.c.seconds).label("seconds")).group_by(
    _latest.c.generator
)


def _paces(connection: Connection, names: frozenset[str], now: datetime) -> dict[str, float]:
    """Return the seconds that one image of each generator takes; of one not seen lately, those of the others."""
    values = {"since": now - timedelta(seconds=PACE_SECONDS), "names": sorted(names)}
    known = {row.generator: float(row.seconds) for row in connection.execute(_means, values)}
    usual = sum(known.values()) / len(known) if known else DEFAULT_SECONDS_PER_JOB
    return {name: known.get(name, usual) for name in names}


def _benched(connection: Connection, name: str, now: datetime) -> float:
    """Return the seconds for which nothing will be made by a generator."""
    breaker = breakers.read(connection).get(name)
    if breaker is None or breaker.benched_until is None:
        return 0.0
    return max(0.0, (breaker.benched_until - now).total_seconds())


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
    mean, count = connection.execute(_pace, {"since": now - timedelta(seconds=PACE_SECONDS)}).one()
    return float(mean) / count if mean is not None else DEFAULT_SECONDS_PER_JOB
