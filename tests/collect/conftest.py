"""A database file of the test's own, and hands that play duels on it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from loop_player import EVERYTHING, finished
from sqlalchemy import select

from databases import KINDS, KINDS_SLOWLY
from pickapic.collect.database import open_database
from pickapic.collect.duels import duel, images, views
from pickapic.collect.people import users
from pickapic.collect.queue import endings, jobs
from pickapic.collect.tables import rounds
from pickapic.settings import load_settings


class Hands:
    """Plays duels at a clock that the test moves."""

    def __init__(self, database, settings) -> None:
        self.runner = asyncio.Runner()  # PostgreSQL's connections belong to one event loop
        self.database = database
        self.settings = settings
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.rng = random.Random(0)
        self.session_key = None
        self.sees = True  # what is on screen has been fetched

    def write(self, work, *args):
        return self.runner.run(self.database.write(work, *args))

    def read(self, work, *args):
        return self.runner.run(self.database.read(work, *args))

    def later(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def guest(self) -> int:
        return self.write(users.create_guest, self.now)

    def start(self, user: int, prompt: str = "a cat") -> str:
        return self.write(duel.start, self.settings, user, prompt, self.now, self.rng)

    def lease(self, count: int = 100, worker: str = "w") -> list[jobs.Job]:
        return self.write(jobs.lease, worker, count, 60.0, self.now)

    def finish(self, leased, worker: str = "w", same: bool = False) -> None:
        def record(connection):
            mine = jobs.finish(connection, worker, [job.id for job in leased], 0.5, self.now)
            images.record(connection, [finished(job, same) for job in leased if job.id in mine], self.now)

        self.write(record)

    def fail(self, job, error: str, max_attempts: int, worker: str = "w") -> str:
        def give_up(connection):
            held = endings.leased_to(connection, worker, [job.id])[job.id]
            return endings.fail(connection, held, error, max_attempts, self.now)

        return self.write(give_up)

    def make(self, count: int = 100) -> None:
        self.finish(self.lease(count))

    def view(self, user: int, uid: str) -> views.DuelView:
        def look(connection):
            duel.advance(connection, self.settings, user, uid, self.now, self.rng)
            return views.view(connection, user, uid, self.now)

        return self.write(look)

    def pick(self, user: int, round_uid: str, answer: str) -> None:
        self.write(
            duel.pick,
            self.settings,
            user,
            round_uid,
            answer,
            self.now,
            self.rng,
            self.session_key,
            EVERYTHING if self.sees else (),
        )

    def skip(self, user: int, round_uid: str) -> None:
        self.write(duel.skip, self.settings, user, round_uid, self.now, self.rng)

    def undo(self, user: int, round_uid: str) -> None:
        self.write(duel.undo, user, round_uid, self.now)

    def close(self, user: int, uid: str) -> None:
        self.write(duel.close, user, uid, self.now)

    def rows(self, table=rounds):
        return self.read(lambda connection: connection.execute(select(table).order_by(table.c.id)).all())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run everything on PostgreSQL too, where there is a server: in `make check` what says `ON_BOTH_QUICKLY`."""
    chosen = any(mark.args[0] == "kind" for mark in metafunc.definition.iter_markers("parametrize"))
    if "kind" in metafunc.fixturenames and not chosen:
        quickly = getattr(metafunc.module, "ON_BOTH_QUICKLY", False)
        metafunc.parametrize("kind", KINDS if quickly else KINDS_SLOWLY, indirect=True)


@pytest.fixture
def kind(request) -> str:
    """sqlite or postgresql."""
    return request.param


@pytest.fixture
def empty_url(kind, databases, tmp_path) -> Iterator[str]:
    """A database without tables."""
    url = databases.empty(kind, tmp_path)
    yield url
    databases.drop(url)


@pytest.fixture
def database_url(kind, databases, tmp_path) -> Iterator[str]:
    """A database with all tables, and nothing in them."""
    url = databases.migrated(kind, tmp_path)
    yield url
    databases.drop(url)


@pytest.fixture
def hands(database_url, tmp_path) -> Iterator[Hands]:
    hands = Hands(open_database(database_url), load_settings(home=tmp_path))
    with hands.runner:
        yield hands
        hands.runner.run(hands.database.close())
