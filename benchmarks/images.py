"""Should an image come through the server, or should the browser be sent to the bucket for it?

Through the server: `pickapic serve` asks the bucket and passes the bytes on. Sent on: the server signs an address and
the browser asks the bucket itself, one request more. Measured side by side, by turns, over real HTTP on loopback: what
a browser waits for one image, and the processor time that it costs the server. A redirect is timed as what it would be:
the server's answer (its answer for a folder stands for that), the signing, and the bucket's answer.

    python benchmarks/images.py --images 2000
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from pickapic.browser import Browser
from pickapic.storage.blobs import content_key, open_store, presigned_get, put
from s3_servers import Servers, free_port

START_SECONDS = 60
AT_ONCE = 4
TURNS = 3


class Server:
    """`pickapic serve` with its images in one place, and somebody who has an image there."""

    def __init__(self, home: Path, images_url: str, environment: dict[str, str]) -> None:
        home.mkdir()
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PICKAPIC_")}
        settings = {"PICKAPIC_HOME": str(home), "PICKAPIC_IMAGES_URL": images_url}
        log = home / "serve.log"
        with log.open("wb") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pickapic", "serve", "--port", str(port)],
                cwd=home,
                env=kept | environment | settings,
                stdout=stream,
                stderr=stream,
            )
        until = time.monotonic() + START_SECONDS
        while b" is at http://" not in log.read_bytes():
            if time.monotonic() > until or self.process.poll() is not None:
                raise SystemExit(log.read_text())
            time.sleep(0.05)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(30)

    def seconds(self) -> float:
        """Return the processor time of the server until now."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    async def visitor(self) -> tuple[dict[str, str], str]:
        """Return the cookies of somebody, and the address of an image of theirs."""
        browser = Browser(self.url)
        await browser.request("GET", "/api/v1/me")
        await browser.request("POST", "/auth/guest")
        duel = (await browser.request("POST", "/api/v1/duels", {"prompt": "a red fox"})).json()
        while not duel["round"]:
            duel = (await browser.request("GET", f"/api/v1/duels/{duel['duel_id']}?wait=10")).json()
        browser.close()
        return browser.cookies, duel["round"]["images"][0]["url"]


async def fetch(url: str, path: str, cookies: dict[str, str], count: int) -> tuple[list[float], int]:
    """GET `path` so often, a few at a time; return the seconds of each, and the bytes of one."""
    left = iter(range(count))
    times: list[float] = []
    sizes = {0}

    async def one() -> None:
        browser = Browser(url)
        browser.cookies = dict(cookies)
        for _ in left:
            start = time.perf_counter()
            reply = await browser.request("GET", path)
            times.append(time.perf_counter() - start)
            assert reply.status == 200, reply.status
            sizes.add(len(reply.body))
        browser.close()

    await asyncio.gather(*(one() for _ in range(AT_ONCE)))
    return times, max(sizes)


async def measure(folder: Server, bucket: Server, bucket_url: str, count: int) -> None:
    """Print what each way costs."""
    store = open_store(bucket_url)
    data = os.urandom(20_000)
    key = await put(store, data)
    people = {server: await server.visitor() for server in (folder, bucket)}
    address = urlsplit(await presigned_get(store, key, 600) or "")
    lines: dict[str, list[tuple[float, float]]] = {}
    for _ in range(TURNS):
        for name, server in (("from a folder", folder), ("from the bucket, through the server", bucket)):
            cookies, path = people[server]
            before = server.seconds()
            times, size = await fetch(server.url, path, cookies, count)
            cpu = (server.seconds() - before) / count
            lines.setdefault(f"{name}, {size:,} bytes", []).append((statistics.median(times), cpu))
        start = time.process_time()
        for _ in range(count):
            await presigned_get(store, key, 600)
        signing = (time.process_time() - start) / count
        lines.setdefault("signing an address", []).append((signing, signing))
        where = f"{address.scheme}://{address.netloc}"
        times, _ = await fetch(where, f"{address.path}?{address.query}", {}, count)
        lines.setdefault(f"the bucket itself, {len(data):,} bytes", []).append(
            (statistics.median(times), 0.0)
        )
    assert content_key(data) == key
    for name, found in lines.items():
        wait, cpu = (statistics.median(part) for part in zip(*found, strict=True))
        spread = ", ".join(f"{1000 * one[0]:.2f}" for one in found)
        print(f"  {name:52} {1000 * wait:6.2f} ms (turns {spread}); server CPU {1000 * cpu:5.2f} ms")


def main() -> None:
    """Start a server on a folder and one on a bucket, and compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=2000, help="how often an image is fetched in each turn")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        (folder / "buckets").mkdir()
        made = stack.enter_context(Servers(folder / "buckets")).bucket("rclone")
        os.environ.update(made.environment)
        near = stack.enter_context(Server(folder / "a", str(folder / "images"), {}))
        far = stack.enter_context(Server(folder / "b", made.url("images"), dict(made.environment)))
        print(
            f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, "
            f"{datetime.datetime.now(datetime.UTC).date()}, obstore {version('obstore')}, rclone on loopback, "
            f"{AT_ONCE} requests at a time, {options.images} a turn"
        )
        asyncio.run(measure(near, far, made.url("images"), options.images))


if __name__ == "__main__":
    main()
