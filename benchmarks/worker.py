"""How many images of the miniature models one worker makes a second, with its database and its image folder.

    python benchmarks/worker.py                                    # under a minute
    python benchmarks/worker.py --database postgresql://user@host/empty

Everything is real but the people: prompts are queued, one `Worker` makes them, and the time until the last one is
recorded counts. Beside it, in the same rounds, the drawing alone: what the queue, the files and the rows cost.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import random
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy
from sqlalchemy import func, select

from pickapic.collect import schema
from pickapic.collect.database import Database, open_database
from pickapic.collect.duels import duel
from pickapic.collect.people import users
from pickapic.collect.tables import jobs
from pickapic.generate.encoding import encode
from pickapic.generate.generator import GenerationRequest
from pickapic.generate.miniature import aurora
from pickapic.settings import load_settings
from pickapic.storage.blobs import open_store
from pickapic.worker import beside_database

IMAGES_A_PROMPT = 6


async def fill(database: Database, settings: object, prompts: int, seed: int) -> None:
    """Queue prompts, each of a person of its own."""
    moment = datetime.now(UTC)
    for number in range(prompts):
        user = await database.write(users.create_guest, moment)
        rng = random.Random(seed * 10_000 + number)
        await database.write(duel.start, settings, user, f"a red cat and {number} dogs", moment, rng)


def left(connection: sqlalchemy.Connection) -> int:
    """Return how many jobs are not done."""
    return connection.execute(select(func.count()).where(jobs.c.state.in_(("queued", "leased")))).scalar_one()


async def measure(url: str, folder: Path, prompts: int, seed: int) -> tuple[float, float]:
    """Return images a second, and milliseconds of this process's CPU an image."""
    settings = load_settings(home=folder, image_classifier="none", **({"database_url": url} if url else {}))
    database = open_database(settings.database_url)
    await schema.upgrade_if_empty(database)
    await fill(database, settings, prompts, seed)
    worker = beside_database(settings, database, open_store(settings.images_url))
    stop = asyncio.Event()
    start, cpu = time.perf_counter(), time.process_time()
    running = asyncio.create_task(worker.run(stop))
    while await database.read(left):
        await asyncio.sleep(0.05)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    stop.set()
    await running
    await database.close()
    count = prompts * IMAGES_A_PROMPT
    return count / seconds, 1000 * cpu / count


def draw(count: int) -> float:
    """Return images a second that are drawn and encoded, and nothing else."""
    generator = aurora()
    start = time.perf_counter()
    for seed in range(count):
        (image,) = generator.generate(GenerationRequest("a red cat and 7 dogs", (seed,)))
        encode(image.pixels)
    return count / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--database", default="", help="URL of an empty PostgreSQL database; default: SQLite")
    parser.add_argument("--prompts", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}"
    )
    print(
        f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, SQLAlchemy {sqlalchemy.__version__}"
    )
    made: list[float] = []
    spent: list[float] = []
    drawn: list[float] = []
    for number in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            rate, cpu = asyncio.run(measure(options.database, Path(folder), options.prompts, number))
        made.append(rate)
        spent.append(cpu)
        drawn.append(draw(100))
        print(
            f"round {number + 1}: worker {rate:.0f} images/s ({cpu:.2f} ms of CPU each), "
            f"drawing alone {drawn[-1]:.0f} images/s"
        )
    ratio = statistics.median(one / other for one, other in zip(made, drawn, strict=True))
    print(
        f"median: worker {statistics.median(made):.0f} images/s, {statistics.median(spent):.2f} ms of CPU each, "
        f"{ratio:.2f} of drawing alone"
    )


if __name__ == "__main__":
    main()
