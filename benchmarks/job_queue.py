"""The queue: how fast it is, however deep, and how long five prompts wait beside a hundred of somebody else.

Speed: for some seconds processes lease a job, finish it and queue another, or only queue one, each time in one
transaction; with finished jobs in the table beside those that wait.

Fairness: prompts are written through the real server while no worker runs; then `pickapic worker` makes the images, and
what counts is when the last image that the five screens wait for was made.

    python benchmarks/job_queue.py                     # both databases, about four minutes
    python benchmarks/job_queue.py --only fairness
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection, insert, make_url, text

import web
from pickapic.collect.database import Database, open_database
from pickapic.collect.queue import jobs
from pickapic.collect.schema import upgrade
from pickapic.collect.tables import duels, users
from pickapic.collect.tables import jobs as jobs_table

ROOT = Path(__file__).parents[1]
PEOPLE = 200
DONE = 100_000
PROMPT = "a cat"
ORDER = jobs.Order("miniature", PROMPT, "", 7.5, 25, 1)


def main() -> None:
    arguments = parse()
    if "PICKAPIC_TEST_POSTGRESQL" not in os.environ:
        environment = os.environ | {"PICKAPIC_POSTGRESQL_FSYNC": "on"}
        os.execvpe(str(ROOT / ".ci/postgresql"), ["postgresql", sys.executable, *sys.argv], environment)
    print(
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC; {web.processor()}; {len(os.sched_getaffinity(0))} cores; "
        f"load average before: {os.getloadavg()[0]:.1f}",
        flush=True,
    )
    with tempfile.TemporaryDirectory(prefix="pickapic-queue-") as folder, ExitStack() as stack:
        if arguments.only != "fairness":
            for depth in arguments.depths:
                for kind in ("sqlite", "postgresql"):
                    asyncio.run(speed(kind, depth, arguments, Path(folder)))
        if arguments.only != "speed":
            asyncio.run(fairness(Path(folder), stack))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=("speed", "fairness"))
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 3, 8])
    parser.add_argument("--depths", type=int, nargs="+", default=[100, 100_000])
    return parser.parse_args()


async def new_url(kind: str, folder: Path, name: str) -> str:
    if kind == "sqlite":
        return f"sqlite:///{folder / name}.db"
    database = await web.new_database(make_url(os.environ["PICKAPIC_TEST_POSTGRESQL"]), name)
    return database.render_as_string(hide_password=False)


async def speed(kind: str, depth: int, arguments: argparse.Namespace, folder: Path) -> None:
    url = await new_url(kind, folder, f"depth_{depth}")
    await upgrade(url)
    database = open_database(url)
    await database.write(fill, depth)
    if kind == "postgresql":
        await database.write(lambda connection: connection.execute(text("ANALYZE")))
    await database.close()
    for workers in arguments.workers:
        rates = [
            sum(in_processes(work, workers, url, arguments.seconds)) / arguments.seconds
            for work in (lease_and_finish, enqueue)
        ]
        print(
            f"{kind:10} depth {depth:7,}, {DONE:,} done before, {workers} at once: "
            f"{rates[0]:6.0f} leased, finished and queued again a second, {rates[1]:6.0f} only queued; "
            f"load {os.getloadavg()[0]:.1f}",
            flush=True,
        )


def fill(connection: Connection, depth: int) -> None:
    """Write people, a duel each, jobs that are done, and `depth` that wait."""
    now = datetime.now(UTC)
    connection.execute(insert(users), [{"kind": "guest", "created_at": now}] * PEOPLE)
    told = {"typed": PROMPT, "caption": PROMPT, "negative_prompt": "", "state": "open", "created_at": now}
    connection.execute(
        insert(duels), [{"uid": f"duel{one}", "user_id": one, **told} for one in range(1, PEOPLE + 1)]
    )
    asked = {"generator": "miniature", "prompt": PROMPT, "negative_prompt": "", "guidance_scale": 7.5}
    asked |= {"steps": 25, "seed": 1, "not_before": now, "created_at": now}
    for state, count in (("done", DONE), ("queued", depth)):
        connection.execute(
            insert(jobs_table),
            [
                asked
                | {"duel_id": 1 + number % PEOPLE, "user_id": 1 + number % PEOPLE, "state": state}
                | {"priority": number % 2, "virtual_time": 1.0 + number // PEOPLE}
                | {"finished_at": now if state == "done" else None, "seconds": 1.0}
                for number in range(count)
            ],
        )


def in_processes(work, count: int, url: str, seconds: float) -> list[int]:  # noqa: ANN001
    context = multiprocessing.get_context("spawn")
    with context.Pool(count) as pool:
        pool.map(warm_up, [url] * count)
        return pool.starmap(run, [(work, number, url, seconds) for number in range(count)], chunksize=1)


def warm_up(url: str) -> None:
    time.sleep(0.2)


def run(work, number: int, url: str, seconds: float) -> int:  # noqa: ANN001
    async def repeat() -> int:
        database = open_database(url)
        try:
            done, until = 0, time.monotonic() + seconds
            while time.monotonic() < until:
                done += await work(database, number)
            return done
        finally:
            await database.close()

    return asyncio.run(repeat())


async def lease_and_finish(database: Database, number: int) -> int:
    return await database.write(_lease_and_finish, f"worker-{number}")


def _lease_and_finish(connection: Connection, worker: str) -> int:
    now = datetime.now(UTC)
    leased = jobs.lease(connection, worker, 1, 60.0, now)
    jobs.finish(connection, worker, [job.id for job in leased], 0.01, now)
    for job in leased:  # as deep as before
        jobs.enqueue(connection, job.duel_id, job.duel_id, [(ORDER, job.priority)], now)
    return len(leased)


async def enqueue(database: Database, number: int) -> int:
    await database.write(_enqueue, 1 + number % PEOPLE)
    return 1


def _enqueue(connection: Connection, user: int) -> None:
    jobs.enqueue(connection, user, user, [(ORDER, jobs.AHEAD)], datetime.now(UTC))


async def fairness(folder: Path, stack: ExitStack) -> None:
    """Print what somebody with five prompts waits: alone, beside five others' prompts, and beside a hundred."""
    waits = {beside: await wait(beside, folder, stack) for beside in (0, 5, 100)}
    for beside, (last, images) in waits.items():
        print(
            f"five prompts beside {beside:3} of another: the last of their ten images was image {images} to be made, "
            f"after {last:.2f} s; load {os.getloadavg()[0]:.1f}",
            flush=True,
        )
    print(f"beside 100 over beside 5: {waits[100][0] / waits[5][0]:.2f} of the time, ", end="")
    print(f"{waits[100][1] / waits[5][1]:.2f} of the images")


async def wait(beside: int, folder: Path, stack: ExitStack) -> tuple[float, int]:
    name = f"beside_{beside}"
    home = folder / name
    home.mkdir()
    url = await new_url("postgresql", folder, name)
    server = web.Server(home, make_url(url), 1, ahead=4, access_log=True)
    stack.callback(server.stop)
    server.start()
    people = [web.Person(server.address, number) for number in range(2)]
    for person in people:
        await person.sign_in()
    for person, prompts in zip(people, (beside, 5), strict=True):
        for _ in range(prompts):
            body = {"prompt": f"a cat that is number {person._number}"}
            web.expect(await person._browser.request("POST", "/api/v1/duels", body), 201)
    worker = server.run("worker")
    made = (
        "SELECT i.created_at, j.leased_at, j.user_id, j.priority "
        "FROM images i JOIN jobs j ON j.id = i.job_id ORDER BY i.id"
    )
    database = open_database(url)
    try:
        while True:
            rows = await database.read(lambda connection: connection.execute(text(made)).all())
            second = max((row.user_id for row in rows), default=0)
            ten = [
                n for n, row in enumerate(rows) if row.user_id == second and row.priority == jobs.ON_SCREEN
            ]
            if len(ten) >= 10 and (not beside or len({row.user_id for row in rows}) == 2):
                first = min(row.leased_at for row in rows)
                return (rows[ten[9]].created_at - first).total_seconds(), ten[9] + 1
            await asyncio.sleep(0.05)
    finally:
        await database.close()
        worker.terminate()
        worker.wait(timeout=30)


if __name__ == "__main__":
    main()
