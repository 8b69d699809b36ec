"""A deployment to break: PostgreSQL, images in a bucket or a folder, a server, three workers; and what must hold."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
from people import Memory
from sqlalchemy import Connection, func, make_url, select

from pickapic.collect.database import open_database
from pickapic.collect.tables import duels, images, jobs, rounds
from pickapic.collect.upkeep.wholeness import check
from pickapic.storage.blobs import open_store
from s3_servers import free_port

WORKERS = 3
LEASE_SECONDS = 5.0
START_SECONDS = 60
SETTINGS = {
    # Sixty by default: so long after a worker is killed its jobs come back.
    "PICKAPIC_LEASE_SECONDS": str(LEASE_SECONDS),
    "PICKAPIC_PROMPTS_PER_MINUTE": "1000",
    "PICKAPIC_IMAGES_PER_WEEK": "1000000",
    "PICKAPIC_JOBS_PER_USER": "100000",
    "PICKAPIC_PICKS_FIRST": "1000000",
    # These people answer faster than anybody; that is no fault.
    "PICKAPIC_QUALITY": json.dumps({"fast_points": 0.0, "velocity_points": 0.0}),
    "OMP_NUM_THREADS": "1",
}
MINIATURE = {"miniature-aurora": {}, "miniature-dune": {}, "miniature-fjord": {}}


class Deployment:
    """One database and one image store; processes that are killed and started again."""

    def __init__(
        self,
        folder: Path,
        server_url: str,
        images_url: str,
        environment: Mapping[str, str],
        generators: Mapping[str, Any] = MINIATURE,
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        name = f"faults_{uuid.uuid4().hex}"
        asyncio.run(_create(server_url, name))
        self.database_url = make_url(server_url).set(database=name).render_as_string(hide_password=False)
        self.images_url = images_url
        self._environment = dict(environment)
        kept = {key: value for key, value in os.environ.items() if not key.startswith("PICKAPIC_")}
        self._all = kept | SETTINGS | self._environment
        self._all |= {
            "PICKAPIC_HOME": str(folder),
            "PICKAPIC_DATABASE_URL": self.database_url,
            "PICKAPIC_IMAGES_URL": images_url,
            "PICKAPIC_GENERATORS": json.dumps(generators),
        }
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.server: subprocess.Popen[bytes] | None = None
        self.workers: list[subprocess.Popen[bytes]] = []
        self._writers: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Deployment:
        self.start_server()
        self.start_workers()
        return self

    def __exit__(self, *_: object) -> None:
        for process in [*self.workers, *([self.server] if self.server else [])]:
            process.kill()
            process.wait(20)
        for writer in self._writers:
            writer.wait(20)

    def start_server(self) -> None:
        log = self.folder / "serve.log"
        start = log.stat().st_size if log.exists() else 0
        self.server = self._start("serve", "--no-worker", "--port", str(self.port))
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until and self.server.poll() is None:
            if b" is at http://" in log.read_bytes()[start:]:
                return
            time.sleep(0.05)
        raise AssertionError(f"the server did not start:\n{self.logs()[-4000:]}")

    def kill_server(self) -> None:
        assert self.server is not None
        self.server.send_signal(signal.SIGKILL)
        self.server.wait(20)

    def start_workers(self) -> None:
        self.workers = [self._start("worker") for _ in range(WORKERS)]

    def kill_workers(self) -> None:
        for worker in self.workers:
            worker.send_signal(signal.SIGKILL)
        for worker in self.workers:
            worker.wait(20)

    def limit_workers(self, size: int) -> None:
        """Let the workers write no file longer than so many bytes; -1: any."""
        for worker in self.workers:
            resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def logs(self) -> str:
        return "".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("*.log")))

    def state(self) -> str:
        """Return what is not done, and what was said last."""
        lines = [str(tuple(row)) for row in self.read(_undone)]
        return "\n".join(["jobs and open rounds:", *lines, self.logs()[-6000:]])

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        # The log is written by another process: a limit on the length of files must not be one on the log.
        with (self.folder / f"{arguments[0]}.log").open("ab") as log:
            writer = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=log)
        assert writer.stdin is not None
        process = subprocess.Popen(
            [sys.executable, "-m", "pickapic", *arguments],
            cwd=self.folder,
            env=self._all,
            stdin=subprocess.DEVNULL,
            stdout=writer.stdin,
            stderr=writer.stdin,
        )
        writer.stdin.close()
        self._writers.append(writer)
        return process

    # What must hold, whatever happened.

    def read(self, work: Callable[[Connection], Any]) -> Any:
        async def read() -> Any:
            database = open_database(self.database_url)
            try:
                return await database.read(work)
            finally:
                await database.close()

        return asyncio.run(read())

    def faults(self, memories: list[Memory]) -> list[str]:
        """Return what was lost, doubled or stopped, in words; empty if nothing was."""
        found = [f"{memory.name}: {wrong}" for memory in memories for wrong in memory.wrong]
        answered = self.read(_answered)
        stored = dict(answered)
        if len(stored) != len(answered):
            found.append(f"{len(answered) - len(stored)} rounds were answered twice")
        for memory in memories:
            for round_uid, answer in memory.promised.items():
                if stored.get(round_uid) != answer:
                    found.append(f"the pick of {round_uid} was lost: {answer} became {stored.get(round_uid)}")
        tried = {key: answer for memory in memories for key, answer in memory.tried.items()}
        found += [f"{key} was picked by nobody" for key in stored if stored[key] != tried.get(key)]
        doubled, without, dead, failed = self.read(_doubled)
        found += [f"job {job} has {count} images" for job, count in doubled]
        found += [f"job {job} is done and has no image" for job in without]
        found += [f"job {job} was given up: {error}" for job, error in dead]
        found += [f"duel {duel} failed: {message}" for duel, message in failed]
        if not self._is_whole():
            found.append("images are missing or damaged")
        return found

    def _is_whole(self) -> bool:
        async def look() -> bool:
            database = open_database(self.database_url)
            try:
                return (await check(database, open_store(self.images_url), read=True)).whole
            finally:
                await database.close()

        with _put_into_environment(self._environment):
            return asyncio.run(look())


@contextmanager
def _put_into_environment(more: Mapping[str, str]) -> Any:
    before = dict(os.environ)
    os.environ.update(more)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


async def _create(server_url: str, name: str) -> None:
    connection = await asyncpg.connect(server_url)
    try:
        await connection.execute(f"CREATE DATABASE {name}")
    finally:
        await connection.close()


def _undone(connection: Connection) -> list[Any]:
    left = select(jobs.c.id, jobs.c.duel_id, jobs.c.state, jobs.c.worker, jobs.c.attempts, jobs.c.lease_until)
    shown = select(rounds.c.id, rounds.c.duel_id, rounds.c.state, rounds.c.shown_at)
    undone = connection.execute(left.where(jobs.c.state.in_(("queued", "leased", "dead")))).all()
    return [*undone, *connection.execute(shown.where(rounds.c.state == "open"))]


def _answered(connection: Connection) -> list[tuple[str, str]]:
    query = select(rounds.c.uid, rounds.c.pick).where(rounds.c.state == "answered")
    return [(uid, pick) for uid, pick in connection.execute(query)]


def _doubled(connection: Connection) -> tuple[list[Any], list[Any], list[Any], list[Any]]:
    doubled = select(images.c.job_id, func.count()).group_by(images.c.job_id).having(func.count() > 1)
    without = (
        select(jobs.c.id)
        .join(images, images.c.job_id == jobs.c.id, isouter=True)
        .where(jobs.c.state == "done", images.c.id.is_(None))
    )
    dead = select(jobs.c.id, jobs.c.error).where(jobs.c.state == "dead")
    failed = select(duels.c.id, duels.c.message).where(duels.c.state == "failed")
    return (
        [tuple(row) for row in connection.execute(doubled)],
        list(connection.execute(without).scalars()),
        [tuple(row) for row in connection.execute(dead)],
        [tuple(row) for row in connection.execute(failed)],
    )
