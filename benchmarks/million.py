"""A million images and a million picks in PostgreSQL: is picking as quick as on an empty database, and is an export?

Two databases on one PostgreSQL server, one empty, one with a million picks (million_rows.py); on each a real server
without a worker. People pick on both, in rounds that take turns; measured is what the page does: POST a pick, whose
answer holds the next round, and GET the duel. Then the million is exported without images by the command line, and a
tenth of it too, each in a process whose memory is read from the kernel.

    python benchmarks/million.py                          # about six minutes, 3 GB of disk
    python benchmarks/million.py --picks 100000 --rounds 1
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import million_rows
from sqlalchemy import URL, make_url

import web
from pickapic.collect.database import open_database
from pickapic.collect.quality import risks
from pickapic.collect.quality.policy import policy_from
from pickapic.settings import load_settings

ROOT = Path(__file__).parents[1]


def main() -> None:
    arguments = parse()
    if "PICKAPIC_TEST_POSTGRESQL" not in os.environ:
        environment = os.environ | {"PICKAPIC_POSTGRESQL_FSYNC": "on"}
        os.execvpe(str(ROOT / ".ci/postgresql"), ["postgresql", sys.executable, *sys.argv], environment)
    with tempfile.TemporaryDirectory(prefix="pickapic-million-") as folder, ExitStack() as stack:
        asyncio.run(measure(arguments, make_url(os.environ["PICKAPIC_TEST_POSTGRESQL"]), Path(folder), stack))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--picks", type=int, default=1_000_000, help="in the full database")
    parser.add_argument("--people", type=int, default=10, help="who pick at once, on each side")
    parser.add_argument("--each", type=int, default=20, help="picks of a person in a round")
    parser.add_argument("--rounds", type=int, default=4, help="turns that each side takes")
    parser.add_argument("--only", choices=("picks", "export"))
    parser.add_argument("--full", help="name of a database on the server that is filled already")
    parser.add_argument("--tenth", help="name of one that has a tenth")
    return parser.parse_args()


async def measure(arguments: argparse.Namespace, server: URL, folder: Path, stack: ExitStack) -> None:
    print(
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC; {web.processor()}; {len(os.sched_getaffinity(0))} cores; "
        f"load average before: {os.getloadavg()[0]:.1f}",
        flush=True,
    )
    full = await filled(server, arguments.full, "full", arguments.picks)
    if arguments.only != "export":
        empty = await web.new_database(server, "empty")
        await pick(arguments, {"empty": empty, "full": full}, folder, stack)
    if arguments.only != "picks":
        tenth = await filled(server, arguments.tenth, "tenth", arguments.picks // 10)
        for database in (tenth, full):
            await export(database, folder)


async def filled(server: URL, name: str | None, new: str, picks: int) -> URL:
    """Return a database that is filled, or fill a new one."""
    if name is not None:
        return server.set(database=name)
    database = await web.new_database(server, new)
    start = time.perf_counter()
    await million_rows.fill(database.render_as_string(hide_password=False), picks)
    print(f"{picks:,} picks written in {time.perf_counter() - start:.0f} s", flush=True)
    return database


class Person(web.Person):
    """Picks, and looks at the duel again after each pick, as a page does that was loaded anew."""

    async def play(self, picks: web.Tally, looks: list[float], count: int) -> None:
        for _ in range(count):
            await self.pick(picks, 1)
            start = time.perf_counter()
            reply = await self._browser.request("GET", f"/api/v1/duels/{self._duel}")
            looks.append(time.perf_counter() - start)
            if reply.status != 200:
                picks.errors[f"look {reply.status}"] += 1


async def pick(
    arguments: argparse.Namespace, databases: dict[str, URL], folder: Path, stack: ExitStack
) -> None:
    """Let people pick on each database in turns, and print what they waited."""
    sides: dict[str, tuple[web.Server, list[Person], web.Tally, list[float]]] = {}
    for name, database in databases.items():
        home = folder / name
        home.mkdir()
        side = web.Server(home, database, 1, ahead=arguments.each + 2, access_log=True)
        stack.callback(side.stop)
        side.start()
        people = [Person(side.address, number) for number in range(arguments.people)]
        for person in people:
            await person.sign_in()
        sides[name] = (side, people, web.Tally(), [])
    for turn in range(arguments.rounds):
        for name in list(sides)[:: 1 if turn % 2 == 0 else -1]:
            side, people, picks, looks = sides[name]
            await web.prepare(side, people, databases[name])
            before, looked = len(picks.times), len(looks)
            await asyncio.gather(*(person.play(picks, looks, arguments.each) for person in people))
            seen = f"pick {line(picks.times[before:])}  look {line(looks[looked:])}"
            print(f"turn {turn + 1} {name:5}  {seen}  load {os.getloadavg()[0]:.1f}", flush=True)
    (*_, old, old_looks), (*_, new, new_looks) = sides["empty"], sides["full"]
    for what, one, other in (("pick", old.times, new.times), ("look", old_looks, new_looks)):
        ratios = [quantile(other, share) / quantile(one, share) for share in (0.5, 0.99)]
        print(
            f"{what}: empty {line(one)}, full {line(other)}: ratio p50 {ratios[0]:.2f}, p99 {ratios[1]:.2f}"
        )
    for name, (*_, picks, _) in sides.items():
        print(f"{name}: {len(picks.times)} picks, errors: {dict(picks.errors) or 'none'}")


def quantile(times: list[float], share: float) -> float:
    return statistics.quantiles(times, n=100, method="inclusive")[round(share * 100) - 1]


def line(times: list[float]) -> str:
    return f"p50 {1000 * quantile(times, 0.5):.1f} ms, p99 {1000 * quantile(times, 0.99):.1f} ms"


async def export(database: URL, folder: Path) -> None:
    """Export without images, and print the time and the greatest memory of the process."""
    url = database.render_as_string(hide_password=False)
    opened = open_database(url)
    start = time.perf_counter()
    # What a server does beside answering all the time, and so before any export of one that runs.
    people = await risks.refresh_all(opened, policy_from(load_settings(home=folder)), datetime.now(UTC))
    await opened.close()
    seconds = time.perf_counter() - start
    print(f"risks of {people:,} people, as a running server has them: {seconds:.1f} s", flush=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PICKAPIC_")}
    environment |= {"PICKAPIC_HOME": str(folder), "PICKAPIC_DATABASE_URL": url}
    command = [
        sys.executable,
        "-m",
        "pickapic",
        "export",
        str(folder / "rows"),
        "--no-images",
        "--full",
        "--json",
    ]
    start = time.perf_counter()
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        said = await asyncio.to_thread(process.stdout.read)
        _, status, used = await asyncio.to_thread(os.wait4, process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - start
    rows, busy = json.loads(said)["rows"], used.ru_utime + used.ru_stime
    print(
        f"export without images: {rows:,} rows in {seconds:.1f} s, its process busy for {busy:.1f} s of them; "
        f"greatest memory {used.ru_maxrss / 1024:.0f} MB, load {os.getloadavg()[0]:.1f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
