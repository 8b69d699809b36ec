"""Stopping real processes: in order at the first signal, within a time, and at once at the second."""

import contextlib
import signal
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from server_process import free_port, inside, serve
from sqlalchemy import select

from pickapic.collect.tables import jobs

pytestmark = pytest.mark.slow

ON_BOTH_DATABASES = True

SAME = 3.0
"""Seconds after which a signal is another one, also where the first was handled late."""


class Slow(BaseHTTPRequestHandler):
    """A provider that takes its time."""

    def do_POST(self):
        self.server.asked.set()
        self.server.over.wait(60)

    def log_message(self, *_):
        pass


@pytest.fixture
def slow(tmp_path):
    """A settings file with a generator that draws for a minute; `asked` is set once it does."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    server.asked, server.over = threading.Event(), threading.Event()
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    config = tmp_path / "pickapic.toml"
    config.write_text(
        f"""
        [generators.slow]
        plugin = "openai-images"
        [generators.slow.parameters]
        model = "m"
        url = "http://127.0.0.1:{server.server_address[1]}"
        dialect = "vllm"
        """
    )
    server.config = str(config)
    yield server
    server.over.set()
    server.shutdown()
    thread.join()
    server.server_close()


def states(database_url) -> set[tuple[str, int]]:
    query = select(jobs.c.state, jobs.c.attempts).distinct()
    return inside(database_url, lambda connection: {tuple(row) for row in connection.execute(query)})


def ended(process, seconds: float) -> int:
    start = time.monotonic()
    code = process.process.wait(timeout=30)
    assert time.monotonic() - start < seconds, process.text()
    return code


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_server_says_that_it_stops_and_still_answers_then_ends_streams_and_goes(run, guest, processes):
    port = free_port()
    server = serve(
        lambda *more: run(*more, PICKAPIC_STOP_DELAY_SECONDS="2.5"), port, "--processes", processes
    )
    person = guest(port)
    duel = person.start("a cat")
    stream = threading.Thread(target=lambda: person.client.get(f"/api/v1/duels/{duel['duel_id']}/events"))
    stream.start()
    assert httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
    server.process.send_signal(signal.SIGTERM)
    time.sleep(1)
    for _ in range(4):
        reply = httpx.get(f"http://127.0.0.1:{port}/readyz")
        assert (reply.status_code, reply.json()["status"]) == (503, "stopping")
    assert httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
    assert httpx.get(f"http://127.0.0.1:{port}/about").status_code == 200
    assert ended(server, 10) == 0
    stream.join(timeout=5)
    assert not stream.is_alive()
    assert "Traceback" not in server.text()


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_second_signal_ends_a_server_at_once(run, processes):
    port = free_port()
    server = serve(lambda *more: run(*more, PICKAPIC_STOP_DELAY_SECONDS="60"), port, "--processes", processes)
    server.process.send_signal(signal.SIGTERM)
    server.process.send_signal(signal.SIGINT)  # what belongs together is one signal
    time.sleep(SAME)
    assert server.process.poll() is None
    # A process that was still starting handled the first late, and takes the next for the same.
    for _ in range(4):
        server.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.process.wait(timeout=SAME)
            return
    raise AssertionError(server.text())


def test_a_worker_that_cannot_finish_in_time_gives_its_jobs_back(run, guest, slow, database_url):
    settings = {"PICKAPIC_CONFIG": slow.config, "PICKAPIC_STOP_SECONDS": "1"}
    port = free_port()
    server = serve(lambda *more: run(*more, **settings), port, "--no-worker")
    worker = run("worker", **settings)
    guest(port).post("/api/v1/duels", {"prompt": "a cat"})
    assert slow.asked.wait(30)
    assert "leased" in {state for state, _ in states(database_url)}
    worker.process.send_signal(signal.SIGTERM)
    assert ended(worker, 6) == 0
    assert states(database_url) == {("queued", 0)}, "as if they had never been leased"
    assert server.stop() == 0


def test_the_worker_inside_a_server_gives_its_jobs_back_too(run, guest, slow, database_url):
    settings = {"PICKAPIC_CONFIG": slow.config, "PICKAPIC_STOP_SECONDS": "1"}
    port = free_port()
    server = serve(lambda *more: run(*more, **settings), port)
    guest(port).post("/api/v1/duels", {"prompt": "a cat"})
    assert slow.asked.wait(30)
    server.process.send_signal(signal.SIGTERM)
    assert ended(server, 8) == 0
    assert states(database_url) == {("queued", 0)}


def test_a_second_signal_ends_a_worker_at_once(run, guest, slow):
    settings = {"PICKAPIC_CONFIG": slow.config, "PICKAPIC_STOP_SECONDS": "60"}
    port = free_port()
    serve(lambda *more: run(*more, **settings), port, "--no-worker")
    worker = run("worker", **settings)
    guest(port).post("/api/v1/duels", {"prompt": "a cat"})
    assert slow.asked.wait(30)
    worker.process.send_signal(signal.SIGTERM)
    time.sleep(SAME)
    assert worker.process.poll() is None
    worker.process.send_signal(signal.SIGTERM)
    assert ended(worker, 10) == 128 + signal.SIGTERM


def test_a_worker_tells_its_figures_at_a_port_of_its_own(run, guest):
    port, figures = free_port(), free_port()
    serve(run, port, "--no-worker")
    worker = run("worker", "--metrics-port", str(figures))
    worker.wait_for("the worker is ready")
    guest(port).start("a cat")
    address = f"http://127.0.0.1:{figures}"
    text = httpx.get(f"{address}/metrics").text
    assert 'outcome="made"}' in text
    assert "pickapic_worker_leases_lost_total 0.0" in text
    assert "pickapic_worker_store_errors_total 0.0" in text
    assert (httpx.get(f"{address}/healthz").text, httpx.get(f"{address}/x").status_code) == ("ok\n", 404)
    assert httpx.post(f"{address}/metrics").status_code == 405
    taken = run("worker", "--metrics-port", str(figures))
    assert taken.process.wait(timeout=30) == 1
    assert f"error: 127.0.0.1:{figures} cannot be listened on" in taken.text()
    assert "Traceback" not in taken.text()
    assert worker.stop() == 0
