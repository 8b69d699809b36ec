"""The server as a process of its own: events, kill -9, several processes, sharing a database with a worker."""

import json
import os
import re
import signal
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from server_process import Guest, free_port, inside, serve
from sqlalchemy import select, update

from pickapic.collect.tables import jobs, rounds

ON_BOTH_DATABASES = True


def answered(database_url) -> list[tuple[str, str]]:
    query = select(rounds.c.uid, rounds.c.pick).where(rounds.c.state == "answered")
    return inside(database_url, lambda connection: [tuple(row) for row in connection.execute(query)])


@pytest.mark.slow
def test_kill_9_between_and_during_picks_loses_and_doubles_nothing(run, guest, database_url):
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
    stored = answered(database_url)
    assert len(stored) == len(dict(stored)), "a round was answered twice"
    assert promised.items() <= dict(stored).items(), "an answered pick was lost"
    # At most the picks in flight at the kills are stored without having been confirmed.
    assert len(stored) - len(promised) <= 3 * len(guests) + len(guests)


@pytest.mark.slow
def test_a_killed_workers_jobs_are_made_by_the_next(run, guest, database_url):
    port = free_port()
    server = serve(run, port, "--no-worker")
    somebody = guest(port)
    duel = somebody.post("/api/v1/duels", {"prompt": "a cat"}).json()
    # What a worker leaves behind that was killed after its lease had begun.
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    left = update(jobs).values(state="leased", worker="dead", attempts=1, lease_until=long_ago)
    inside(database_url, lambda connection: connection.execute(left))
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
def test_serve_needs_no_setting_and_keeps_its_secret_to_itself(run_plainly, tmp_path):
    port = free_port()
    server = serve(run_plainly, port)
    key = tmp_path / "home" / "secret_key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert httpx.get(f"http://127.0.0.1:{port}/readyz").json()["status"] == "ok"
    second = run_plainly("serve", "--port", str(port))
    assert second.process.wait(timeout=60) == 1
    assert "cannot be listened on" in second.text()
    assert "Traceback" not in second.text()
    server.stop()


@pytest.mark.slow
def test_several_processes_are_one_server(run, guest, database_url):
    """What one is told the others know; one that is killed is replaced; metrics are added up; all end together."""
    port = free_port()
    server = serve(run, port, "--processes", "3")
    guests = [guest(port) for _ in range(4)]
    picks = 0
    for number, person in enumerate(guests):
        duel = person.start(f"a cat number {number}")
        for answer in ("left", "right", "tie"):
            # Each request on a connection of its own: any of the processes may have it.
            person.client.headers["Connection"] = "close"
            assert person.pick(duel, answer).status_code == 200
            duel = person.ready(duel["duel_id"])
            picks += 1
    assert len(answered(database_url)) == picks

    time.sleep(2.5)  # until each has written its metrics once more
    texts = {guests[0].client.get("/metrics").text for _ in range(12)}
    for text in texts:
        counted = re.findall(r'^pickapic_answers_total\{answer="\w+"\} ([\d.]+)$', text, re.MULTILINE)
        assert sum(map(float, counted)) == picks
    children = server.children()
    assert len(children) == 3
    os.kill(children[1], signal.SIGKILL)
    server.wait_for("another takes its place")
    for _ in range(20):
        assert guests[1].client.get("/api/v1/me").status_code == 200
    for _ in range(300):
        if len(server.children()) == 3:
            break
        time.sleep(0.1)
    assert len(server.children()) == 3
    assert server.stop() == 0
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"http://127.0.0.1:{port}/healthz")
    assert "Traceback" not in server.text()


@pytest.mark.slow
def test_processes_do_not_outlive_the_one_that_started_them(run):
    port = free_port()
    server = serve(run, port, "--processes", "2", "--no-worker")
    children = server.children()
    server.stop(signal.SIGKILL)
    for _ in range(300):
        if not any(is_running(child) for child in children):
            return
        time.sleep(0.1)
    raise AssertionError("a process was left behind")


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
