"""`pickapic ...` in processes of their own, and guests who use what they serve."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from pickapic.collect.database import open_database


class Process:
    """`pickapic ...` in a process of its own."""

    def __init__(self, home: Path, *arguments: str, **settings: str) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PICKAPIC_")}
        environment |= {"PICKAPIC_HOME": str(home), **settings}
        home.mkdir(exist_ok=True)
        self.log = home / f"{arguments[0]}.log"
        with self.log.open("ab") as stream:
            self.start = stream.tell()
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pickapic", *arguments],
                cwd=home,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
            )

    def wait_for(self, pattern: str) -> str:
        for _ in range(600):
            match = re.search(pattern, self.text())
            if match:
                return match[0]
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        raise AssertionError(f"{pattern!r} was never said:\n{self.text()}")

    def text(self) -> str:
        return self.log.read_bytes()[self.start :].decode()

    def children(self) -> list[int]:
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(child) for child in path.read_text().split()]

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=30)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def serve(run: Callable[..., Process], port: int, *more: str) -> Process:
    """Start a server and wait until it says where it is."""
    server = run("serve", "--port", str(port), *more)
    server.wait_for(r"is at http://\S+")
    return server


class Guest:
    def __init__(self, port: int) -> None:
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)
        self.client.get("/api/v1/me")
        assert self.post("/auth/guest").status_code == 201

    def post(self, path, body=None):
        headers = {"X-CSRF-Token": self.client.cookies.get("csrf", "")}
        return self.client.post(path, json=body, headers=headers)

    def start(self, prompt):
        duel = self.post("/api/v1/duels", {"prompt": prompt}).json()
        return self.ready(duel["duel_id"])

    def pick(self, duel, answer):
        """Fetch both images, then answer, as a page does."""
        for image in duel["round"]["images"]:
            self.client.get(image["url"])
        return self.post(f"/api/v1/rounds/{duel['round']['round_id']}/pick", {"pick": answer})

    def ready(self, duel_id):
        for _ in range(20):
            duel = self.client.get(f"/api/v1/duels/{duel_id}?wait=10").json()
            if duel["round"]:
                return duel
        raise AssertionError("no images")


def inside(database_url: str, work: Callable[..., Any]) -> Any:
    """Run a transaction beside the processes."""

    async def transaction() -> Any:
        database = open_database(database_url)
        try:
            return await database.write(work)
        finally:
            await database.close()

    return asyncio.run(transaction())
