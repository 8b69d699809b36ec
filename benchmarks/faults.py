"""How long until everybody picks again after something broke, and whether anything was lost by it.

PostgreSQL (fsync on), images in a bucket behind something that can refuse, three `pickapic worker`, one
`pickapic serve`, and people who pick all the time, each after a look of a quarter of a second. Times are from the break
for kills and crashes, and from its end for what lasts. At the end every image that was ever on screen is fetched again
and compared, and every pick that was answered 200 is looked for in the database. Leases are of 5 seconds.

    python benchmarks/faults.py                          # rclone and moto: about six minutes
    python benchmarks/faults.py --bucket moto --rounds 1
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path

TESTS = Path(__file__).parents[1] / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "faults")]

from deployment import LEASE_SECONDS, WORKERS, Deployment  # noqa: E402
from disk import SmallDisk  # noqa: E402
from front import Front  # noqa: E402
from own_postgresql import OwnPostgresql, binaries  # noqa: E402
from people import People  # noqa: E402

from s3_servers import Servers  # noqa: E402

Times = dict[str, list[tuple[float, float]]]


def main() -> None:
    """Break things, one after the other, and print the times."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bucket", choices=["rclone", "moto"], action="append")
    parser.add_argument("--people", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3, help="how often each kill and crash is done")
    parser.add_argument("--outage", type=float, default=30.0, help="seconds for which the bucket refuses")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder, OwnPostgresql() as postgresql, ExitStack() as stack:
        (Path(folder) / "buckets").mkdir()
        servers = stack.enter_context(Servers(Path(folder) / "buckets"))
        for kind in options.bucket or ["rclone", "moto"]:
            results[kind] = _on_bucket(kind, Path(folder) / kind, postgresql, servers, options)
        results["full disk"] = _on_full_disk(Path(folder) / "disk", postgresql, options.people)
    about = {
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "load": round(os.getloadavg()[0], 1),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "versions": f"Python {platform.python_version()}, obstore {version('obstore')}, moto {version('moto')}, "
        f"{_first_line('rclone', 'version')}, {_first_line(str(binaries() / 'postgres'), '--version')}",
    }
    if options.json:
        print(json.dumps({**about, "results": results}, indent=2))
    else:
        print(f"{about['machine']}, load {about['load']}, {about['date']}; {about['versions']}")


def _on_bucket(
    kind: str, folder: Path, postgresql: OwnPostgresql, servers: Servers, options: argparse.Namespace
) -> dict[str, object]:
    bucket = servers.bucket(kind)
    times: Times = {}
    with ExitStack() as stack:
        front = stack.enter_context(Front(bucket.port))
        url = bucket.url("images", port=front.port)
        deployment = stack.enter_context(Deployment(folder, postgresql.url, url, bucket.environment))
        with People(deployment.url, options.people, deployment.state) as people:
            people.recovery(time.monotonic())
            steady, start = people.picks(), time.monotonic()
            time.sleep(5)
            rate = (people.picks() - steady) / (time.monotonic() - start)

            def each(
                what: str, do: Callable[[], None], rounds: int = options.rounds, lasts: float = 0
            ) -> None:
                for _ in range(rounds):
                    start = time.monotonic()
                    do()
                    if lasts:
                        time.sleep(lasts)
                        front.become("open")
                        start = time.monotonic()
                    times.setdefault(what, []).append(people.recovery(start))
                    people.recovery(time.monotonic())

            each(
                "kill -9 of three workers", lambda: (deployment.kill_workers(), deployment.start_workers())[0]
            )
            each("kill -9 of the server", lambda: (deployment.kill_server(), deployment.start_server())[0])
            each("PostgreSQL: immediate stop, start", lambda: (postgresql.crash(), postgresql.start())[0])
            refuse = f"the bucket answered 503 for {options.outage:g} s"
            each(refuse, lambda: front.become("refusing"), 1, options.outage)
            each("the bucket hung for 15 s", lambda: front.become("hanging"), 1, 15)
        lost = deployment.faults(people.memories)
    shown = sum(len(memory.images) for memory in people.memories)
    print(
        f"{kind}: {options.people} people, {WORKERS} workers, leases of {LEASE_SECONDS:g} s; {rate:.1f} picks/s; "
        f"{people.picks()} picks, {shown} images shown; lost or doubled: {lost or 'nothing'}",
        flush=True,
    )
    for what, seconds in times.items():
        first, everybody = zip(*seconds, strict=True)
        print(
            f"  {what:44} first pick {statistics.median(first):5.1f} s, "
            f"everybody {statistics.median(everybody):5.1f} s (worst {max(everybody):.1f} s, n={len(seconds)})",
            flush=True,
        )
    return {"picks": people.picks(), "images": shown, "lost": lost, "seconds": times}


def _on_full_disk(folder: Path, postgresql: OwnPostgresql, count: int) -> dict[str, object]:
    with ExitStack() as stack:
        disk = stack.enter_context(SmallDisk(folder / "images"))
        deployment = stack.enter_context(Deployment(folder / "home", postgresql.url, str(disk.folder), {}))
        with People(deployment.url, count, deployment.state) as people:
            people.recovery(time.monotonic())
            disk.fill(deployment)
            time.sleep(10)
            disk.clear(deployment)
            first, everybody = people.recovery(time.monotonic())
        lost = deployment.faults(people.memories)
    print(
        f"full disk for 10 s ({disk.kind}): first pick {first:.1f} s, everybody {everybody:.1f} s; "
        f"lost or doubled: {lost or 'nothing'}"
    )
    return {"kind": disk.kind, "lost": lost, "seconds": [first, everybody]}


def _first_line(program: str, argument: str) -> str:
    found = shutil.which(program, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    return subprocess.run([found or program, argument], capture_output=True, text=True).stdout.partition(
        "\n"
    )[0]


if __name__ == "__main__":
    main()
