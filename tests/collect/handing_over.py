"""Workers that hand over by hand, at the clock of the test."""

from __future__ import annotations

import random
from dataclasses import replace

from loop_player import finished
from sqlalchemy import select, update

from pickapic.collect.duels import handover
from pickapic.collect.duels.handover import ERROR, MADE, REFUSED, UNAVAILABLE, UNMADE, Report, Result, Room
from pickapic.collect.queue import breakers, workers
from pickapic.collect.tables import images
from pickapic.collect.tables import jobs as jobs_table
from pickapic.settings import GeneratorChoice


class Desk:
    """A worker of the generators named, which do everything in one room."""

    def __init__(self, hands, *names: str, worker: str = "w", at_once: int = 100) -> None:
        self.hands = hands
        self.worker = worker
        self.room = Room(names, at_once, asides=True)
        self.rng = random.Random(0)
        self.held: dict[int, object] = {}

    def turn(self, *results: Result, want: int | None = None, holding=()):
        """Hand over and lease; return the jobs. `holding`: what it goes on with, whatever it reports."""
        for result in results:
            if result.job_id not in holding:
                self.held.pop(result.job_id, None)
        room = self.room if want is None else replace(self.room, jobs=want)
        report = Report(results, tuple(self.held), (room,))
        args = (self.worker, report, self.hands.settings, self.hands.now, self.rng)
        leased = self.hands.write(handover.hand_over, *args)
        self.held |= {job.id: job for job in leased}
        return leased

    def is_due(self) -> bool:
        return self.hands.read(handover.is_due, Report((), tuple(self.held), (self.room,)), self.hands.now)

    def sweep(self) -> None:
        self.hands.write(workers.note, self.worker, self.room.generators, None, self.hands.now)
        self.hands.write(handover.sweep, self.hands.settings, self.hands.now, self.rng)


def settings(hands, *names: str, **changes):
    """Let the collection have these generators."""
    choices = tuple(GeneratorChoice(name, name) for name in names)
    hands.settings = hands.settings.model_copy(update={"generators": choices, **changes})


def made(job, **changes) -> Result:
    return Result(job.id, job.attempts, MADE, replace(finished(job), **changes), seconds=0.5)


def error(job, why="out of memory") -> Result:
    return Result(job.id, job.attempts, ERROR, message=why)


def refused(job, why="it would be unsafe") -> Result:
    return Result(job.id, job.attempts, REFUSED, message=why)


def unavailable(job, why="status 503") -> Result:
    return Result(job.id, job.attempts, UNAVAILABLE, message=why)


def unmade(job) -> Result:
    return Result(job.id, job.attempts, UNMADE)


def row_of(hands, job):
    return next(row for row in hands.rows(jobs_table) if row.id == job.id)


def all_of(hands, generator: str) -> None:
    """Have everything that waits made by this generator."""
    hands.write(
        lambda connection: connection.execute(
            update(jobs_table).where(jobs_table.c.state == "queued").values(generator=generator)
        )
    )


def failing(hands):
    return hands.read(breakers.read)


def count_images(hands) -> int:
    return len(hands.read(lambda connection: connection.execute(select(images.c.id)).all()))
