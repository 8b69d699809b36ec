"""What it costs a worker to come over HTTPS instead of standing beside the database; here http:// on one machine.

    python benchmarks/remote_worker.py                             # about two minutes
    python benchmarks/remote_worker.py --images s3://bucket/x?endpoint=http://127.0.0.1:9000

Real processes: `pickapic serve --no-worker` and one `pickapic worker`, first beside the database, then with a token,
by turns. Measured are the time from a prompt to its first round, of people who come one after the other, so that the
worker is idle before each; first rounds a second while prompts wait; and how busy an idle worker is.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import os
import platform
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from pickapic import __version__

IDLE_SECONDS = 10.0
START_SECONDS = 60.0


def main() -> None:
    """Measure both ways, by turns, and print them side by side."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--prompts", type=int, default=15, help="people who come one after the other, a round"
    )
    parser.add_argument("--images", default="", help="where images go; default: a folder")
    given = parser.parse_args()
    load = os.getloadavg()
    found: dict[bool, list[dict[str, float]]] = {False: [], True: []}
    for number in range(given.rounds):
        for remote in (False, True) if number % 2 else (True, False):
            with tempfile.TemporaryDirectory() as folder:
                found[remote].append(measure(Path(folder), remote, given.prompts, given.images))
    print(
        f"{datetime.date.today()}, {platform.platform()}, {os.cpu_count()} CPUs, Python {platform.python_version()}, "
    )
    print(
        f"pickapic {__version__}, load {load[0]:.1f} before and {os.getloadavg()[0]:.1f} after, {given.rounds} rounds"
    )
    print(f"{'':32}{'beside':>10}{'token':>10}{'ratio':>8}")
    for name in found[True][0]:
        beside, token = (statistics.median(one[name] for one in found[remote]) for remote in (False, True))
        ratio = f"{token / beside:8.2f}" if beside else f"{'–':>8}"
        print(f"{name:32}{beside:10.2f}{token:10.2f}{ratio}")


def measure(folder: Path, remote: bool, prompts: int, images: str) -> dict[str, float]:
    """Return what is measured, by name, of one server and one worker."""
    settings = {"PICKAPIC_HOME": str(folder / "server"), "PICKAPIC_PROMPTS_PER_MINUTE": "10000"}
    settings |= {"PICKAPIC_IMAGES_URL": images} if images else {}
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    with started(["serve", "--no-worker", "--port", str(port)], settings, folder, "is at"):
        own, more = settings, []
        if remote:
            made = subprocess.run(
                [sys.executable, "-m", "pickapic", "admin", "tokens", "create", "worker", "bench"],
                env=_environment(settings),
                cwd=folder,
                check=True,
                capture_output=True,
                text=True,
            )
            own = {"PICKAPIC_HOME": str(folder / "worker"), "PICKAPIC_WORKER_TOKEN": made.stdout.strip()}
            more = ["--server", address]
        with started(["worker", *more], own, folder, "the worker is ready") as worker:
            return {**times(address, prompts), **idle(worker)}


def times(address: str, prompts: int) -> dict[str, float]:
    """Return how long people wait, and how fast a queue is worked off."""
    with httpx.Client(base_url=address, timeout=60) as client:
        client.get("/api/v1/me")
        client.post("/auth/guest", headers=csrf(client)).raise_for_status()
        waits = [first_round(client, number) for number in range(prompts + 2)][2:]
        start = time.perf_counter()
        duels = [begin(client, 1000 + number) for number in range(prompts)]
        while any(unmade(client, duel) for duel in duels):
            time.sleep(0.02)
        seconds = time.perf_counter() - start
    return {
        "ms to the first round, median": 1000 * statistics.median(waits),
        "ms to the first round, most": 1000 * max(waits),
        "first rounds a second": prompts / seconds,
    }


def begin(client: httpx.Client, number: int) -> str:
    """Start a duel."""
    reply = client.post(
        "/api/v1/duels", json={"prompt": f"a red cat and {number} dogs"}, headers=csrf(client)
    )
    reply.raise_for_status()
    return reply.json()["duel_id"]


def first_round(client: httpx.Client, number: int) -> float:
    """Return the seconds from a prompt to its first round; the rest of its images are made before this returns."""
    start = time.perf_counter()
    duel = begin(client, number)
    while client.get(f"/api/v1/duels/{duel}", params={"wait": 10}).json()["round"] is None:
        pass
    seconds = time.perf_counter() - start
    time.sleep(0.4)
    return seconds


def unmade(client: httpx.Client, duel: str) -> bool:
    """Return whether a duel still waits for its first round."""
    return client.get(f"/api/v1/duels/{duel}").json()["round"] is None


def idle(worker: subprocess.Popen[bytes]) -> dict[str, float]:
    """Return how busy the process of a worker without work is."""
    time.sleep(2)
    busy = _cpu(worker.pid)
    time.sleep(IDLE_SECONDS)
    return {
        "idle: % of a CPU": 100 * (_cpu(worker.pid) - busy) / IDLE_SECONDS,
    }


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def csrf(client: httpx.Client) -> dict[str, str]:
    """Return what a change needs."""
    return {"X-CSRF-Token": client.cookies.get("csrf", "")}


@contextlib.contextmanager
def started(
    arguments: list[str], settings: dict[str, str], folder: Path, ready: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `pickapic ...` until the block ends; it is ready once it has said so."""
    log = folder / f"{arguments[0]}.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "pickapic", *arguments],
            env=_environment(settings),
            cwd=folder,
            stdout=stream,
            stderr=stream,
        )
    try:
        end = time.monotonic() + START_SECONDS
        while ready not in log.read_text():
            if time.monotonic() > end or process.poll() is not None:
                raise SystemExit(log.read_text())
            time.sleep(0.05)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _environment(settings: dict[str, str]) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("PICKAPIC_")}
    return own | settings


if __name__ == "__main__":
    main()
