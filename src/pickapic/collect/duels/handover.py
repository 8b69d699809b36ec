"""What a worker hands over and gets: results, and the next jobs, in one transaction.

Workers beside the database and workers that come over HTTPS share it. A report may come twice, since its answer may
have been lost: the same results again change nothing, and jobs that the lost answer named go back to the queue.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from random import Random, SystemRandom
from typing import Literal

from sqlalchemy import Connection, select

from pickapic.collect.duels import images, losses
from pickapic.collect.duels.orders import draw_order
from pickapic.collect.queue import breakers, endings, generator_states, jobs, workers
from pickapic.collect.queue.breakers import Breaker
from pickapic.collect.tables import duels
from pickapic.settings import Settings

Outcome = Literal["made", "error", "refused", "unavailable", "unmade"]
MADE: Outcome = "made"
ERROR: Outcome = "error"
REFUSED: Outcome = "refused"
UNAVAILABLE: Outcome = "unavailable"
UNMADE: Outcome = "unmade"

SAME_PICTURE = "the generator drew the same picture as another of its duel"


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
    if report.results or not report.rooms:
        return True  # whoever has no room says good-bye: what it holds goes back
    if not report.want:
        return False
    failing = breakers.read(connection)
    resting = breakers.resting(connection, failing, now) if failing else set[str]()
    awake = False
    for room in report.rooms:
        names = _without(room.generators, resting)
        awake = awake or bool(names)
        if room.jobs and jobs.is_waiting(connection, now, names, room.asides):
            return True
    # What was ordered of a generator while it was being benched is passed on.
    return bool(resting) and awake and jobs.is_waiting(connection, now, sorted(resting), asides=False)


def hand_over(
    connection: Connection, worker: str, report: Report, settings: Settings, now: datetime, rng: Random
) -> list[jobs.Job]:
    """Record what `worker` made, take back what it does not hold, and lease it the next jobs.

    Only results of jobs that are still the worker's count. What a `Finished` image says of itself is believed: who
    takes it from afar fills it from the job's own row first.
    """
    failing = breakers.read(connection)
    turn = _Turn(connection, worker, settings, now, rng)
    if report.results:
        unmade = [result.job_id for result in report.results if result.outcome == UNMADE]
        unmade += turn.record([result for result in report.results if result.outcome == MADE], failing)
        ended = [result for result in report.results if result.outcome in (ERROR, REFUSED, UNAVAILABLE)]
        turn.end(ended, failing)
        jobs.release(connection, worker, unmade)
        if failing or ended:
            failing = breakers.read(connection)
    elif report.rooms:
        # Not beside results: those come many times a second.
        workers.note_rooms(connection, worker, [(room.generators, room.at_once) for room in report.rooms])
    jobs.release_others(connection, worker, report.holding)
    return turn.lease(report.rooms, failing)


def sweep(connection: Connection, settings: Settings, now: datetime, rng: Random | None = None) -> None:
    """Queue again what silent workers hold, and see to what nobody makes; to be done every few seconds.

    What waits for a generator that no worker makes goes to those that are made; what has waited too long for one
    that cannot be reached is given up.
    """
    died = jobs.requeue_expired(connection, settings.max_attempts, now)
    failing = breakers.read(connection)
    # A job that is old for other reasons, since its person has been away, is not to die of a short failure.
    before = now - timedelta(seconds=settings.job_max_seconds)
    lost = [one.name for one in failing.values() if one.benched_until is not None and one.since < before]
    if lost:
        for job_id, duel_id, name in endings.too_old(connection, lost, before):
            endings.die(connection, job_id, _unreachable(name, failing[name].error), now)
            died.append(duel_id)
    losses.fail_if_stuck(connection, died, now)
    _adopt(connection, settings, now, rng or SystemRandom())


def _adopt(connection: Connection, settings: Settings, now: datetime, rng: Random) -> None:
    """Pass on what has waited long for generators that no worker makes, if others are made."""
    waited = endings.waited_for(connection, now - timedelta(seconds=settings.lease_seconds))
    if not waited:
        return
    made = {name for worker in workers.seen(connection, now) for name in worker.generators}
    orphans = waited - made
    if orphans:
        drawn = generator_states.awake(connection, settings.generators, orphans, now)
        others = [choice for choice in drawn if choice.name in made]
        for name in sorted(orphans):
            generator_states.pass_on(connection, name, others, rng)


@dataclass(frozen=True, slots=True)
class _Turn:
    """One handing over: whose, by which rules, and when."""

    connection: Connection
    worker: str
    settings: Settings
    now: datetime
    rng: Random

    def record(self, made: Sequence[Result], failing: Mapping[str, Breaker]) -> list[int]:
        """Record finished images; return the jobs whose image has not the size of its duel."""
        connection = self.connection
        finished = [one.image for one in made if one.image is not None]
        if not finished:
            return []
        misfits = images.misfits(connection, finished)
        twins = images.twins(connection, [image for image in finished if image.job_id not in misfits])
        good = [one for one in made if one.job_id not in misfits and one.job_id not in twins]
        mine: dict[int, jobs.Wanted] = {}
        by_seconds = sorted(good, key=lambda one: one.seconds)
        for seconds, same in groupby(by_seconds, key=lambda one: one.seconds):
            mine |= jobs.finish(connection, self.worker, [one.job_id for one in same], seconds, self.now)
        recorded = [one.image for one in good if one.image is not None and one.job_id in mine]
        images.record(connection, recorded, self.now)
        flagged = [mine[image.job_id] for image in recorded if image.flag]
        losses.replace(connection, flagged, self.settings.generators, self.now, self.rng)
        if twins:
            self._draw_again(twins)
        breakers.answered(connection, {image.model for image in finished} & failing.keys())
        return sorted(misfits)

    def end(self, results: Sequence[Result], failing: Mapping[str, Breaker]) -> None:
        """Take note of jobs that ended without an image."""
        by_job = {one.job_id: one for one in results}
        if not by_job:
            return
        died: list[int] = []
        refused: list[endings.Leased] = []
        for job in endings.leased_to(self.connection, self.worker, by_job).values():
            one = by_job[job.id]
            if one.attempt != job.attempts:  # a report that comes again tells of an earlier lease
                continue
            if one.outcome == REFUSED:
                endings.refuse(self.connection, job.id, one.message, self.now)
                refused.append(job)
            elif one.outcome == UNAVAILABLE:
                died += self._send_elsewhere(job, one.message)
            else:
                most = self.settings.max_attempts
                state = endings.fail(self.connection, job, one.message, most, self.now)
                died += [job.duel_id] if state == jobs.DEAD else []
        # To refuse is to answer.
        breakers.answered(self.connection, {job.generator for job in refused} & failing.keys())
        losses.replace_refused(self.connection, refused, self.settings.generators, self.now, self.rng)
        losses.fail_if_stuck(self.connection, died, self.now)

    def lease(self, rooms: Sequence[Room], failing: Mapping[str, Breaker]) -> list[jobs.Job]:
        """Lease what the rooms have place for: nothing of what is benched, one job of what is to be tried again."""
        if not any(room.jobs for room in rooms):
            return []
        if not failing:
            return [job for room in rooms for job in self._lease(room.jobs, room.generators, room.asides)]
        resting = breakers.resting(self.connection, failing, self.now)
        due = breakers.due(failing, self.now) - resting
        for name in sorted(resting):
            self._pass_on(name)
        leased: list[jobs.Job] = []
        for room in rooms:
            left = room.jobs
            for name in [name for name in room.generators if name in due and left]:
                tried = self._try(name)
                leased += tried
                left -= len(tried)
            leased += self._lease(left, _without(room.generators, resting | due), room.asides)
        return leased

    def _lease(self, count: int, names: Sequence[str], asides: bool) -> list[jobs.Job]:
        if not count or not (names or asides):
            return []
        seconds = self.settings.lease_seconds
        return jobs.lease(
            self.connection, self.worker, count, seconds, self.now, generators=names, asides=asides
        )

    def _try(self, name: str) -> list[jobs.Job]:
        """Lease one job to try a generator, if nobody does; nobody's screen waits for it where others can draw."""
        if not breakers.may_try(self.connection, name):
            return []
        self._pass_on(name, only_urgent=True)
        tried = self._lease(1, (name,), asides=False)
        if tried:
            self._pass_on(name)
        return tried

    def _pass_on(self, name: str, only_urgent: bool = False) -> None:
        others = generator_states.awake(self.connection, self.settings.generators, (name,), self.now)
        generator_states.pass_on(self.connection, name, others, self.rng, only_urgent)

    def _send_elsewhere(self, job: endings.Leased, why: str) -> list[int]:
        """Give a job whose provider does not answer to another, or let it wait; return its duel if it is too old."""
        if breakers.failed(self.connection, job.generator, why, self.settings, self.now):
            self._pass_on(job.generator)
        order = self._order_of_another(job)
        if order is not None:
            endings.redraw(self.connection, job.id, order, job.attempts - 1, why)
            return []
        oldest = self.now - timedelta(seconds=self.settings.job_max_seconds)
        since = breakers.read(self.connection)[job.generator].since
        if max(job.created_at, since) < oldest:
            endings.die(self.connection, job.id, _unreachable(job.generator, why), self.now)
            return [job.duel_id]
        endings.put_off(self.connection, job.id, why, self.now + timedelta(seconds=endings.RETRY_SECONDS))
        return []

    def _draw_again(self, twins: Collection[int]) -> None:
        """Have images drawn again that are the same picture as another of their duel: by another seed, then model."""
        died: list[int] = []
        for job in endings.leased_to(self.connection, self.worker, twins).values():
            order = None
            if job.attempts < self.settings.max_attempts:
                endings.reseed(self.connection, job.id, self.rng.getrandbits(32), SAME_PICTURE)
                continue
            if job.attempts < 2 * self.settings.max_attempts:
                order = self._order_of_another(job)
            if order is not None:
                endings.redraw(self.connection, job.id, order, job.attempts, SAME_PICTURE)
            else:
                endings.die(self.connection, job.id, SAME_PICTURE, self.now)
                died.append(job.duel_id)
        losses.fail_if_stuck(self.connection, died, self.now)

    def _order_of_another(self, job: endings.Leased) -> jobs.Order | None:
        others = generator_states.awake(self.connection, self.settings.generators, (job.generator,), self.now)
        if not others:
            return None
        duel = self.connection.execute(select(duels).where(duels.c.id == job.duel_id)).one()
        return draw_order(duel, others, self.rng)


def _unreachable(name: str, why: str) -> str:
    return f"{name} could not be reached for too long: {why}"


def _without(names: Sequence[str], others: Collection[str]) -> list[str]:
    return [name for name in names if name not in others]
