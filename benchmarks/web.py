"""200 people who pick at once, through the whole of the real server: sign-in, CSRF, checks, limits, PostgreSQL.

Beside it, in the same run and on the same PostgreSQL server, as many annotation submits on Label Studio, in rounds
that take turns. Everything keeps to two cores: both servers, PostgreSQL (durable: fsync on, its own defaults) and the
people, who are `pickapic.browser.Browser` on both sides. Before each turn everybody writes a prompt and `pickapic
worker` makes the images; measured is what the page does: POST a pick, get the next round in the answer, GET the one
image that may come after it.

A pick that was answered 200 and is not in the database, or is there twice, is lost: there must be none.

    python benchmarks/web.py                                # about four minutes; installs Label Studio once
    python benchmarks/web.py --only ours --picks 6000
    python benchmarks/web.py --kill                         # kill -9 of the server in the middle, three times
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import asyncpg
import label_studio
from sqlalchemy import URL, make_url

from pickapic.browser import Browser
from pickapic.records import InputError

ROOT = Path(__file__).parents[1]
ANSWERS = ("left", "right", "tie", "left", "right")
WAIT_SECONDS = 20
START_SECONDS = 60
# What nobody reaches by hand, so that the run is not about being refused. All checks stay on.
RAISED = {
    "PICKAPIC_PROMPTS_PER_MINUTE": "1000",
    "PICKAPIC_IMAGES_PER_WEEK": "1000000",
    "PICKAPIC_JOBS_PER_USER": "1000000",
    "PICKAPIC_PICKS_FIRST": "1000000",
}


POSTGRES = {"postmaster": 0}
"""The process whose children serve both sides; known once it has been asked."""


@dataclass(slots=True)
class Tally:
    """What the people of one side saw, and the CPU time that it cost: of servers, PostgreSQL, and themselves."""

    seconds: float = 0.0
    cpu: Counter[str] = field(default_factory=Counter)
    times: list[float] = field(default_factory=list)
    images: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    promised: dict[str, str] = field(default_factory=dict)

    def line(self) -> str:
        times = sorted(self.times) or [0.0]
        p50, p99 = times[len(times) // 2], times[min(len(times) - 1, len(times) * 99 // 100)]
        errors = ", ".join(f"{count} x {what}" for what, count in self.errors.items()) or "none"
        cpu = ", ".join(
            f"{name} {1000 * seconds / max(1, len(times)):.2f}" for name, seconds in self.cpu.items()
        )
        return (
            f"{self.rate:7.1f}/s  p50 {1000 * p50:7.1f} ms  p99 {1000 * p99:7.1f} ms  errors: {errors}  "
            f"(CPU ms each: {cpu})"
        )

    @property
    def rate(self) -> float:
        return len(self.times) / self.seconds if self.seconds else 0.0


class Server:
    """`pickapic serve` on a database and a home of its own, to be killed and started again."""

    def __init__(self, home: Path, database: URL, processes: int, ahead: int, access_log: bool) -> None:
        self._home = home
        self._command = [sys.executable, "-m", "pickapic"]
        self._processes = ["--processes", str(processes)]
        self._port = free_port()
        self.address = f"http://127.0.0.1:{self._port}"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PICKAPIC_")}
        self._environment = (
            kept
            | RAISED
            | {
                "PICKAPIC_HOME": str(home),
                "PICKAPIC_DATABASE_URL": database.render_as_string(hide_password=False),
                "PICKAPIC_IMAGES_AHEAD": str(ahead),
                "PICKAPIC_ACCESS_LOG": str(access_log),
                "PICKAPIC_LOG_FORMAT": "json",
            }
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = self.run("serve", "--no-worker", "--port", str(self._port), *self._processes)
        wait_for_line(self.process, self._home / "serve.log", " is at http://")

    def run(self, *arguments: str) -> subprocess.Popen[bytes]:
        with (self._home / f"{arguments[0]}.log").open("wb") as log:
            return subprocess.Popen(
                [*self._command, *arguments],
                cwd=self._home,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self) -> None:
        """Kill -9 every process of the server at once."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=30)


class Person:
    """A guest with a duel whose images are there; picks as fast as the server answers."""

    def __init__(self, address: str, number: int) -> None:
        self._browser = Browser(address)
        self._number = number
        self._fetched: set[str] = set()
        self._round: dict = {}
        self._duel = ""

    async def sign_in(self) -> None:
        await self._browser.request("GET", "/api/v1/me")
        expect(await self._browser.request("POST", "/auth/guest"), 201)

    async def start(self) -> None:
        """End the prompt before, and write the next."""
        if self._duel:
            expect(await self._browser.request("DELETE", f"/api/v1/duels/{self._duel}"), 200)
        prompt = {"prompt": f"a cat that is number {self._number}"}
        self._duel = expect(await self._browser.request("POST", "/api/v1/duels", prompt), 201)["duel_id"]

    async def look(self) -> None:
        """See the first round."""
        path = f"/api/v1/duels/{self._duel}?wait={WAIT_SECONDS}"
        self._round = expect(await self._browser.request("GET", path), 200)["round"]
        if self._round is None:
            raise InputError("no images came")
        await self._fetch(Tally())

    async def pick(self, tally: Tally, count: int) -> None:
        """Answer `count` rounds."""
        for number in range(count):
            answer = ANSWERS[(self._number + number) % len(ANSWERS)]
            key = self._round["round_id"]
            path = f"/api/v1/rounds/{key}/pick?wait={WAIT_SECONDS}"
            start = time.perf_counter()
            reply = await self._browser.request("POST", path, {"pick": answer})
            tally.times.append(time.perf_counter() - start)
            if reply.status != 200:
                tally.errors[f"{reply.status} {reply.body[:100].decode()}"] += 1
                return
            tally.promised[key] = answer
            self._round = reply.json()["round"]
            if self._round is None:
                tally.errors["no next round"] += 1
                return
            await self._fetch(tally)

    async def _fetch(self, tally: Tally) -> None:
        """Fetch what is on screen or may be next, unless it was."""
        for url in (*(image["url"] for image in self._round["images"]), *self._round["prefetch"]):
            if url in self._fetched:
                continue
            self._fetched.add(url)
            start = time.perf_counter()
            reply = await self._browser.request("GET", url)
            tally.images.append(time.perf_counter() - start)
            if reply.status != 200 or not reply.body.startswith(b"\xff\xd8"):
                tally.errors[f"image {reply.status}"] += 1

    def close(self) -> None:
        self._browser.close()


def main() -> None:
    arguments = parse()
    if "PICKAPIC_TEST_POSTGRESQL" not in os.environ:
        environment = os.environ | {"PICKAPIC_POSTGRESQL_FSYNC": "on"}
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.cores])
        os.execvpe(str(ROOT / ".ci/postgresql"), ["postgresql", sys.executable, *sys.argv], environment)
    with tempfile.TemporaryDirectory(prefix="pickapic-web-") as folder, ExitStack() as stack:
        asyncio.run(measure(arguments, make_url(os.environ["PICKAPIC_TEST_POSTGRESQL"]), Path(folder), stack))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--people", type=int, default=200)
    parser.add_argument("--picks", type=int, default=3000, help="in all, on each side")
    parser.add_argument("--rounds", type=int, default=3, help="turns that each side takes")
    parser.add_argument("--cores", type=int, default=2, help="cores for everything together")
    parser.add_argument("--processes", type=int, default=2, help="processes of our server")
    parser.add_argument("--access-log", action="store_true", help="let our server log each request")
    parser.add_argument("--only", choices=("ours", "label-studio"))
    parser.add_argument(
        "--kill", action="store_true", help="kill -9 our server between, instead of comparing"
    )
    parser.add_argument(
        "--label-studio",
        type=Path,
        default=Path.home() / ".cache" / "pickapic" / "label-studio",
        help="virtual environment with Label Studio, made if it is not there",
    )
    return parser.parse_args()


async def measure(arguments: argparse.Namespace, server: URL, folder: Path, stack: ExitStack) -> None:
    arguments.rounds = 1 if arguments.kill else arguments.rounds
    each = max(1, arguments.picks // (arguments.people * arguments.rounds))
    total = each * arguments.people * arguments.rounds
    await describe(server, arguments, total)
    ours = theirs = None
    if arguments.only != "ours" and not arguments.kill:
        python = label_studio.environment(arguments.label_studio)
        database = await new_database(server, "label_studio")
        port, home = free_port(), folder / "label-studio"
        theirs = await asyncio.to_thread(
            label_studio.open_desk, python, database, home, arguments.people, total, port
        )
        stack.callback(stop, theirs.server)
        print(
            f"Label Studio {theirs.version} by uWSGI, {2 * arguments.cores} processes: {total} tasks are ready",
            flush=True,
        )
    if arguments.only != "label-studio":
        database = await new_database(server, "pickapic")
        home = folder / "home"
        home.mkdir()
        # Two more than are picked from: so that each answer names one more to fetch, as where a worker runs.
        ours = Server(home, database, arguments.processes, ahead=each + 2, access_log=arguments.access_log)
        stack.callback(ours.stop)
        ours.start()
        people = [Person(ours.address, number) for number in range(arguments.people)]
        for person in people:
            await person.sign_in()
    if arguments.kill:
        await under_fire(ours, people, database, each)
        return
    mine, other = Tally(), Tally()
    desks = iter(theirs.tasks) if theirs else iter(())
    for number in range(1, arguments.rounds + 1):
        if ours:
            await prepare(ours, people, database)
            print(f"round {number}  pickapic      {(await turn(mine, people, each)).line()}", flush=True)
        if theirs:
            now = await their_turn(other, theirs, desks, each)
            print(f"round {number}  Label Studio  {now.line()}", flush=True)
    if ours:
        print(f"all      pickapic      {mine.line()}; {len(mine.images)} images fetched beside")
        await report_lost(database, mine.promised)
    if theirs:
        stored = await label_studio.count(server.set(database="label_studio"))
        print(f"all      Label Studio  {other.line()}; {stored} of {total} stored")
    if ours and theirs:
        print(f"ratio of the rates: {mine.rate / other.rate:.1f}")


async def describe(server: URL, arguments: argparse.Namespace, total: int) -> None:
    connection = await asyncpg.connect(server.render_as_string(hide_password=False))
    try:
        shown = {
            name: await connection.fetchval(f"SHOW {name}")
            for name in (
                "server_version",
                "fsync",
                "synchronous_commit",
                "full_page_writes",
                "shared_buffers",
            )
        }
        backend = await connection.fetchval("SELECT pg_backend_pid()")
        parent = Path(f"/proc/{backend}/stat").read_text().rpartition(")")[2].split()[1]
        POSTGRES["postmaster"] = int(parent)
    finally:
        await connection.close()
    print(
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC; {processor()}; {len(os.sched_getaffinity(0))} cores for everything; "
        f"load average before: {os.getloadavg()[0]:.1f}"
    )
    print(
        f"Python {platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in ("fastapi", "uvicorn", "sqlalchemy", "asyncpg"))
    )
    print("PostgreSQL " + ", ".join(f"{name} {value}" for name, value in shown.items()))
    print(
        f"{arguments.people} people, {total} picks in {arguments.rounds} rounds; our processes: {arguments.processes}"
        + (", which log each request" if arguments.access_log else "")
    )
    print("raised for the run: " + ", ".join(f"{name}={value}" for name, value in RAISED.items()), flush=True)


async def prepare(server: Server, people: list[Person], database: URL) -> None:
    """Let everybody write a prompt, have the images made, and show the first round."""
    for person in people:
        await person.start()
    workers = [server.run("worker") for _ in range(len(os.sched_getaffinity(0)))]
    try:
        while left := await value(database, "SELECT count(*) FROM jobs WHERE state IN ('queued', 'leased')"):
            if any(worker.poll() is not None for worker in workers):
                raise InputError(f"a worker ended with {left} images to make")
            await asyncio.sleep(0.2)
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait(timeout=30)
    for person in people:
        await person.look()


async def turn(total: Tally, people: list[Person], each: int) -> Tally:
    """Let everybody answer `each` rounds at once."""
    now = Tally()
    with metered(now):
        await asyncio.gather(*(person.pick(now, each) for person in people))
    return add(total, now)


async def their_turn(total: Tally, desk: label_studio.Desk, tasks: Iterator[int], each: int) -> Tally:
    """Let as many people submit as many annotations each to Label Studio."""
    now = Tally()

    async def annotate(token: str) -> None:
        browser = Browser(desk.address, timeout=300, headers={"Authorization": f"Token {token}"})
        for number in range(each):
            start = time.perf_counter()
            good = await label_studio.submit(browser, next(tasks), ANSWERS[number % len(ANSWERS)])
            now.times.append(time.perf_counter() - start)
            if not good:
                now.errors["refused"] += 1
        browser.close()

    with metered(now):
        await asyncio.gather(*(annotate(token) for token in desk.tokens))
    return add(total, now)


@contextmanager
def metered(tally: Tally) -> Iterator[None]:
    """Take the time and the CPU time of what is done within."""
    before, start = cpu_seconds(), time.perf_counter()
    yield
    tally.seconds = time.perf_counter() - start
    tally.cpu = cpu_seconds() - before


def cpu_seconds() -> Counter[str]:
    """Return the CPU seconds spent so far by the processes of this run, by what they are."""
    spent: Counter[str] = Counter()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
            fields = (process / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if POSTGRES["postmaster"] in (int(process.name), int(fields[1])):
            name = "PostgreSQL"
        elif b"pickapic\0serve" in command or b"uwsgi" in command:
            name = "server"
        elif int(process.name) == os.getpid():
            name = "people"
        else:
            continue
        spent[name] += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return spent


def add(total: Tally, now: Tally) -> Tally:
    total.seconds += now.seconds
    total.cpu += now.cpu
    total.times += now.times
    total.images += now.images
    total.errors += now.errors
    total.promised |= now.promised
    return now


async def under_fire(server: Server, people: list[Person], database: URL, each: int) -> None:
    """Kill the server three times while everybody picks; they send again what was not answered."""
    tally = Tally()
    await prepare(server, people, database)
    start = time.perf_counter()
    picking = asyncio.gather(*(person.pick(tally, each) for person in people))
    for number in range(1, 4):
        target = number * each * len(people) // 4
        while len(tally.promised) < target and not picking.done():
            await asyncio.sleep(0.01)
        server.kill()
        print(f"killed after {len(tally.promised)} answered picks", flush=True)
        server.start()
    await picking
    tally.seconds = time.perf_counter() - start
    print(f"through three kills    {tally.line()}")
    await report_lost(database, tally.promised)


async def report_lost(database: URL, promised: dict[str, str]) -> None:
    """Compare what was answered 200 with what is stored; exit 1 if they differ."""
    connection = await asyncpg.connect(database.render_as_string(hide_password=False))
    try:
        rows = await connection.fetch("SELECT uid, pick FROM rounds WHERE state = 'answered'")
    finally:
        await connection.close()
    stored = Counter(row["uid"] for row in rows)
    answers = {row["uid"]: row["pick"] for row in rows}
    missing = sum(answers.get(key) != answer for key, answer in promised.items())
    twice = sum(count > 1 for count in stored.values())
    unasked = len(answers.keys() - promised.keys())
    print(
        f"lost picks: {missing} missing or changed, {twice} twice, of {len(promised)} answered 200; "
        f"{unasked} stored without an answer",
        flush=True,
    )
    if missing or twice:
        raise SystemExit(1)


async def new_database(server: URL, name: str) -> URL:
    connection = await asyncpg.connect(server.render_as_string(hide_password=False))
    try:
        await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await connection.execute(f"CREATE DATABASE {name}")
    finally:
        await connection.close()
    return server.set(database=name)


async def value(database: URL, query: str) -> int:
    connection = await asyncpg.connect(database.render_as_string(hide_password=False))
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


def expect(reply, *statuses: int):  # noqa: ANN001, ANN201
    if reply.status not in statuses:
        raise InputError(f"answered {reply.status}: {reply.body[:200].decode(errors='replace')}")
    return reply.json()


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(timeout=30)


def wait_for_line(process: subprocess.Popen[bytes], log: Path, words: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while words not in log.read_text():
        if process.poll() is not None or time.monotonic() > deadline:
            raise InputError(f"the server did not start:\n{log.read_text()}")
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def processor() -> str:
    """Return what the machine calls its processor."""
    try:
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1] if found else platform.machine()


if __name__ == "__main__":
    main()
