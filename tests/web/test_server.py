"""The server as a process of its own: events, kill -9, sharing a database with a worker process."""

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time

import httpx
import pytest


class Process:
    """`pickapic ...` in a process of its own."""

    def __init__(self, home, *arguments: str) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PICKAPIC_")}
        environment["PICKAPIC_HOME"] = str(home)
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

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=30)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture
def run(tmp_path):
    started: list[Process] = []

    def start(*arguments: str) -> Process:
        started.append(Process(tmp_path / "home", *arguments))
        return started[-1]

    yield start
    for process in started:
        if process.process.poll() is None:
            process.stop(signal.SIGKILL)


@pytest.fixture
def guest():
    """Sign a guest in at a port."""
    guests: list[Guest] = []

    def arrive(port: int) -> Guest:
        guests.append(Guest(port))
        return guests[-1]

    yield arrive
    for one in guests:
        one.client.close()


def serve(run, port: int, *more: str) -> Process:
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


def answered(home) -> list[tuple[str, str]]:
    connection = sqlite3.connect(home / "pickapic.db")
    try:
        return connection.execute("SELECT uid, pick FROM rounds WHERE state = 'answered'").fetchall()
    finally:
        connection.close()


@pytest.mark.slow
def test_kill_9_between_and_during_picks_loses_and_doubles_nothing(run, guest, tmp_path):
    port = free_port()
    promised: dict[str, str] = {}
    lock = threading.Lock()
    stop = threading.Event()

    def pick_on(person: Guest, number: int) -> None:
        duel = None
        while not stop.is_set():
            try:
                duel = duel or person.start(f"a cat number {number}")
                round_id = duel["round"]["round_id"]
                answer = ("left", "right", "tie")[len(round_id + str(number)) % 3]
                reply = person.pick(duel, answer)
                if reply.status_code == 200:
                    with lock:
                        promised[round_id] = answer
                    duel = person.ready(duel["duel_id"])
                else:
                    assert reply.status_code in (502, 503), reply.text
            except (httpx.HTTPError, json.JSONDecodeError):
                time.sleep(0.05)  # the same pick is sent again

    server = serve(run, port, "--no-worker")
    worker = run("worker")
    worker.wait_for("ready")
    guests = [guest(port) for _ in range(4)]
    threads = [
        threading.Thread(target=pick_on, args=(person, number)) for number, person in enumerate(guests)
    ]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            before = len(promised)
            deadline = time.monotonic() + 30
            while len(promised) < before + 15 and time.monotonic() < deadline:
                time.sleep(0.01)
            assert len(promised) >= before + 15, "the picks went on after the restart"
            server.stop(signal.SIGKILL)
            server = serve(run, port, "--no-worker")
    finally:
        stop.set()
        for thread in threads:
            thread.join(timeout=60)
    assert server.stop() in (0, -signal.SIGTERM)
    assert worker.stop() == 0
    stored = answered(tmp_path / "home")
    assert len(stored) == len(dict(stored)), "a round was answered twice"
    assert promised.items() <= dict(stored).items(), "an answered pick was lost"
    # At most the picks in flight at the kills are stored without having been confirmed.
    assert len(stored) - len(promised) <= 3 * len(guests) + len(guests)


@pytest.mark.slow
def test_a_killed_workers_jobs_are_made_by_the_next(run, guest, tmp_path):
    home = tmp_path / "home"
    port = free_port()
    server = serve(run, port, "--no-worker")
    somebody = guest(port)
    duel = somebody.post("/api/v1/duels", {"prompt": "a cat"}).json()
    connection = sqlite3.connect(home / "pickapic.db", isolation_level=None)
    # What a worker leaves behind that was killed after its lease had begun.
    connection.execute(
        "UPDATE jobs SET state='leased', worker='dead', attempts=1, lease_until='2020-01-01 00:00:00.000000'"
    )
    connection.close()
    worker = run("worker")
    shown = somebody.ready(duel["duel_id"])
    assert shown["state"] == "ready"
    assert worker.stop() == 0
    server.stop()
    assert "Traceback" not in worker.text() + server.text()


@pytest.mark.slow
def test_events_tell_the_way_from_the_queue_to_the_round_and_end_with_the_server(run, guest):
    port = free_port()
    server = serve(run, port)
    somebody = guest(port)
    duel = somebody.post("/api/v1/duels", {"prompt": "a cat"}).json()
    seen = []
    with somebody.client.stream("GET", f"/api/v1/duels/{duel['duel_id']}/events") as events:
        assert events.headers["content-type"].startswith("text/event-stream")
        lines = events.iter_lines()
        for line in lines:
            if line.startswith("event:"):
                assert line == "event: state"
            if line.startswith("data: "):
                seen.append(json.loads(line.removeprefix("data: ")))
                if seen[-1]["round"] and seen[-1]["next_ready"]:
                    break
        # Somebody who still listens does not hold the server up.
        start = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        for _ in lines:
            pass
        server.process.wait(timeout=20)
        assert time.monotonic() - start < 10
    assert all(state["duel_id"] == duel["duel_id"] for state in seen)
    progress = [state["progress"] for state in seen]
    assert progress == sorted(progress)
    assert seen[-1]["state"] == "ready"
    assert "Traceback" not in server.text()


@pytest.mark.slow
def test_serve_needs_no_setting_and_keeps_its_secret_to_itself(run, tmp_path):
    port = free_port()
    server = serve(run, port)
    key = tmp_path / "home" / "secret_key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert httpx.get(f"http://127.0.0.1:{port}/readyz").json()["status"] == "ok"
    second = run("serve", "--port", str(port))
    assert second.process.wait(timeout=60) == 1
    assert "cannot be listened on" in second.text()
    assert "Traceback" not in second.text()
    server.stop()
