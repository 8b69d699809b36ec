"""What a worker hands over and gets: results, and the next jobs, in one transaction.

Workers beside the database and workers that come over HTTPS share it. A report may come twice, since its answer may
have been lost: the same results again change nothing, and jobs that the lost answer named go back to the queue.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from random import Random
from typing import Literal

from sqlalchemy import Connection

from pickapic.collect import images, jobs, losses
from pickapic.settings import Settings

Outcome = Literal["made", "error", "refused", "unavailable", "unmade"]
MADE: Outcome = "made"
ERROR: Outcome = "error"
REFUSED: Outcome = "refused"
UNAVAILABLE: Outcome = "unavailable"
UNMADE: Outcome = "unmade"


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a leased job.

    made: `image` is in the store, `seconds` were spent on it. error: the generator failed. refused: it will not draw
    this. unavailable: its provider does not answer, whatever it is asked. unmade: there was no time for it, it goes
    back as never leased. `message` says why, for admins; `attempt` is the job's `attempts` as leased.
    """

    job_id: int
    attempt: int
    outcome: Outcome
    image: images.Finished | None = None
    message: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Room:
    """Generators of a worker that take turns: `at_once` images are made side by side, `jobs` more are wanted now.

    `asides`: spoiled copies and images of a list are made here too, which need no generator.
    """

    generators: tuple[str, ...]
    jobs: int
    at_once: int = 1
    asides: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """What a worker says: results, the ids of the jobs that it goes on with, and all its rooms, full ones too."""

    results: tuple[Result, ...] = ()
    holding: tuple[int, ...] = ()
    rooms: tuple[Room, ...] = ()

    @property
    def want(self) -> int:
        """How many more jobs are wanted."""
        return sum(room.jobs for room in self.rooms)

    @property
    def generators(self) -> tuple[str, ...]:
        """The names of everything that the worker makes."""
        return tuple(dict.fromkeys(name for room in self.rooms for name in room.generators))


def is_due(connection: Connection, report: Report, now: datetime) -> bool:
    """Return whether `hand_over` would do anything; cheaper than trying, and takes no lock."""
    if report.results:
        return True
    return any(
        jobs.is_waiting(connection, now, room.generators, room.asides) for room in report.rooms if room.jobs
    )


def hand_over(
    connection: Connection, worker: str, report: Report, settings: Settings, now: datetime, rng: Random
) -> list[jobs.Job]:
    """Record what `worker` made, take back what it does not hold, and lease it the next jobs.

    Only results of jobs that are still the worker's count. What a `Finished` image says of itself is believed: who
    takes it from afar fills it from the job's own row first.
    """
    made = [result for result in report.results if result.outcome == MADE and result.image is not None]
    misfits = _record(connection, worker, made, settings, now, rng)
    _fail(connection, worker, report.results, settings, now)
    unmade = [result.job_id for result in report.results if result.outcome == UNMADE]
    jobs.release(connection, worker, [*unmade, *misfits])
    jobs.release_others(connection, worker, report.holding)
    leased: list[jobs.Job] = []
    for room in report.rooms:
        if room.jobs:
            seconds = settings.lease_seconds
            leased += jobs.lease(
                connection, worker, room.jobs, seconds, now, generators=room.generators, asides=room.asides
            )
    return leased


def sweep(connection: Connection, settings: Settings, now: datetime) -> None:
    """Queue again what silent workers hold; whoever serves workers does it every few seconds."""
    died = jobs.requeue_expired(connection, settings.max_attempts, now)
    losses.fail_if_stuck(connection, died, now)


def _record(
    connection: Connection,
    worker: str,
    made: Sequence[Result],
    settings: Settings,
    now: datetime,
    rng: Random,
) -> set[int]:
    """Record finished images; return the jobs whose image has not the size of its duel."""
    misfits = images.misfits(connection, [one.image for one in made if one.image is not None])
    good = {one.job_id: one for one in made if one.job_id not in misfits}
    mine: dict[int, jobs.Wanted] = {}
    by_seconds = sorted(good.values(), key=lambda one: one.seconds)
    for seconds, same in groupby(by_seconds, key=lambda one: one.seconds):
        mine |= jobs.finish(connection, worker, [one.job_id for one in same], seconds, now)
    recorded = [one.image for one in good.values() if one.image is not None and one.job_id in mine]
    images.record(connection, recorded, now)
    flagged = [mine[image.job_id] for image in recorded if image.flag]
    losses.replace(connection, flagged, settings.generators, now, rng)
    return misfits


def _fail(
    connection: Connection, worker: str, results: Sequence[Result], settings: Settings, now: datetime
) -> None:
    failed = {one.job_id: one for one in results if one.outcome in (ERROR, REFUSED, UNAVAILABLE)}
    if not failed:
        return
    died: list[int] = []
    for job in jobs.leased_to(connection, worker, failed).values():
        one = failed[job.id]
        # A report that comes again tells of an earlier lease.
        if one.attempt == job.attempts:
            state = jobs.fail(connection, job, one.message, settings.max_attempts, now)
            died += [job.duel_id] if state == jobs.DEAD else []
    losses.fail_if_stuck(connection, died, now)
