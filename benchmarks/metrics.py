"""What one look at the queue costs, as /metrics and /readyz take it, with a million finished jobs in PostgreSQL.

.ci/postgresql python benchmarks/metrics.py
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import statistics
import time
from datetime import UTC, datetime

import asyncpg
from sqlalchemy import make_url, text

from pickapic.collect import schema
from pickapic.collect.database import open_database
from pickapic.collect.queue import condition

FILL = """
INSERT INTO jobs (id, duel_id, user_id, state, priority, virtual_time, generator, prompt, negative_prompt,
                  guidance_scale, steps, seed, not_before, created_at, finished_at, seconds)
SELECT n, 1, 1, CASE WHEN n % 1000 = 0 THEN 'dead' WHEN n > {done} THEN 'queued' ELSE 'done' END, 1, n,
       'model-' || n % 8, 'a cat', '', 7, 25, n, now(), now() - interval '30 days' + n * interval '30 days' / {all},
       CASE WHEN n <= {done} THEN now() - interval '30 days' + n * interval '30 days' / {done} END, 0.5
FROM generate_series(1, {all}) AS n
"""


async def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=1_000_000, help="finished")
    parser.add_argument("--queued", type=int, default=5_000)
    parser.add_argument("--looks", type=int, default=40)
    arguments = parser.parse_args()
    server = os.environ["PICKAPIC_TEST_POSTGRESQL"]
    print(
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC; {platform.machine()}, {os.cpu_count()} cores; "
        f"load average {os.getloadavg()[0]:.1f}; Python {platform.python_version()}"
    )
    for jobs in (0, arguments.jobs):
        url = make_url(server).set(database="pickapic_metrics")
        await prepare(server, url.render_as_string(hide_password=False), jobs, arguments.queued)
        database = open_database(url.render_as_string(hide_password=False))
        times: list[float] = []
        for _ in range(arguments.looks):
            start = time.perf_counter()
            found = await database.read(condition.look, datetime.now(UTC), 60.0)
            times.append(1000 * (time.perf_counter() - start))
        await database.close()
        print(
            f"{jobs:>9,} finished jobs, {found.depths['queued']:,} queued: one look takes "
            f"{statistics.median(times):.1f} ms (median of {len(times)}; slowest {max(times):.1f})"
        )


async def prepare(server: str, url: str, jobs: int, queued: int) -> None:
    connection = await asyncpg.connect(server)
    await connection.execute("DROP DATABASE IF EXISTS pickapic_metrics WITH (FORCE)")
    await connection.execute("CREATE DATABASE pickapic_metrics")
    await connection.close()
    await schema.upgrade(url)
    database = open_database(url)

    def fill(connection) -> None:  # noqa: ANN001
        connection.execute(text("INSERT INTO users (kind, created_at) VALUES ('guest', now())"))
        connection.execute(
            text(
                "INSERT INTO duels (uid, user_id, typed, caption, negative_prompt, state, created_at) "
                "VALUES ('d', 1, 'a', 'a', '', 'open', now())"
            )
        )
        connection.execute(text(FILL.format(done=max(1, jobs), all=jobs + queued)))

    await database.write(fill)
    await database.close()
    connection = await asyncpg.connect(url)
    await connection.execute("VACUUM ANALYZE")
    await connection.close()


if __name__ == "__main__":
    asyncio.run(main())
