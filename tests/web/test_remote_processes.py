"""`pickapic worker --server` in a process of its own: all that a machine runs; killed, revoked, left alone."""

import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import obstore
import pytest
from server_process import Process, free_port, inside
from sqlalchemy import select

from pickapic.collect.people import tokens
from pickapic.collect.tables import images, jobs
from pickapic.storage import blobs
from pickapic.web.service import now
from s3_servers import Servers, give

pytestmark = pytest.mark.slow

KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with Servers(tmp_path_factory.mktemp("buckets")) as servers:
        yield servers


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Start `pickapic worker --server` on a machine that has nothing but the token."""
    started: list[Process] = []

    def start(port: int, shown: str, *more: str, **settings: str) -> Process:
        # Keys are in the tests' own environment where the server needs them; an empty one is none.
        nothing = dict.fromkeys(KEYS, "")
        given = {"PICKAPIC_WORKER_TOKEN": shown, **nothing, **settings}
        address = ("--server", f"http://127.0.0.1:{port}")
        started.append(Process(tmp_path / f"machine-{len(started)}", "worker", *address, *more, **given))
        return started[-1]

    yield start
    for process in started:
        if process.process.poll() is None:
            process.stop(signal.SIGKILL)


@pytest.fixture
def token(database_url: str) -> tokens.Created:
    return inside(
        database_url, lambda connection: tokens.create(connection, "worker", "gpu", None, None, now())
    )


def rows(database_url, table):
    return inside(
        database_url, lambda connection: connection.execute(select(table).order_by(table.c.id)).all()
    )


REMOTE = ("miniature-aurora", "miniature-dune")


def until_made(database_url, duels, seconds=90):
    """Wait until every image that was ordered is there; return their jobs."""
    for _ in range(seconds * 5):
        found = [row for row in rows(database_url, jobs) if row.kind == "generate"]
        if len(found) >= 6 * duels and {row.state for row in found} == {"done"}:
            return found
        time.sleep(0.2)
    raise AssertionError(Counter((row.state, row.error) for row in found))


def assert_whole(database_url, found):
    """Each job has one image, whose file is what its row says."""
    made = rows(database_url, images)
    count = Counter(row.job_id for row in made)
    assert {count[row.id] for row in found} == {1}
    return made


@pytest.mark.parametrize("store", ["folder", "rclone", "moto"])
def test_the_whole_loop_with_a_machine_that_has_only_a_token(
    run, machine, guest, token, database_url, store, servers, tmp_path, monkeypatch
):
    where = {}
    if store != "folder":
        bucket = servers.bucket(store)
        give(bucket.environment, monkeypatch)
        where = {"PICKAPIC_IMAGES_URL": bucket.url(f"loop-{store}")}
    port = free_port()
    server = run("serve", "--port", str(port), "--no-worker", **where)
    server.wait_for(r"is at http://\S+")
    worker = machine(port, token.token, PICKAPIC_GENERATORS="miniature-aurora,miniature-dune,nobody-s")
    worker.wait_for("nobody-s")
    worker.wait_for("the worker is ready")
    # Of the six generators of the server this machine has two; what waits for others must not wait for ever.
    rest = ",".join(f"miniature-{name}" for name in ("bramble", "cobalt", "ember", "fjord"))
    only = run("worker", PICKAPIC_WORKER_GENERATORS=rest, **where)
    only.wait_for("the worker is ready")
    person = guest(port)
    duel = person.start("a red cat")
    for answer in ("left", "right", "tie"):
        assert person.pick(duel, answer).status_code == 200
        duel = person.ready(duel["duel_id"])
    found = until_made(database_url, 1)
    # Models are drawn: a duel may have none of this machine's.
    for number in range(2, 12):
        if any(row.generator in REMOTE for row in found):
            break
        person.start(f"a red cat number {number}")
        found = until_made(database_url, number)
    assert_whole(database_url, found)
    by_model = {row.generator: row.worker for row in found}
    for model, name in by_model.items():
        assert name.startswith(f"{token.uid}:") == (model in REMOTE)
    command = Path(f"/proc/{worker.process.pid}/cmdline").read_text()
    assert token.token not in command
    assert token.token not in server.text() + worker.text()
    # Files go to the bucket, where there is one, and not through the server.
    through_server = 'method="PUT",route="/api/v1/worker/files/' in person.client.get("/metrics").text
    assert through_server == (store == "folder")
    if store != "folder":
        opened = blobs.open_store(where["PICKAPIC_IMAGES_URL"])
        assert [one for part in obstore.list(opened, "incoming/") for one in part] == []
    start = time.monotonic()
    assert worker.stop() == 0, worker.text()
    assert time.monotonic() - start < 10
    # Neither a database nor an image was ever on that machine.
    assert [path.name for path in (tmp_path / "machine-0").rglob("*")] == ["worker.log"]


def play(guest, port, count):
    people = [guest(port) for _ in range(count)]
    for number, person in enumerate(people):
        reply = person.post("/api/v1/duels", {"prompt": f"a red cat number {number}"})
        assert reply.status_code == 201, reply.text
    return people


def test_killed_workers_lose_nothing(run, machine, guest, token, database_url):
    port = free_port()
    run("serve", "--port", str(port), "--no-worker", PICKAPIC_LEASE_SECONDS="2").wait_for(r"is at http://\S+")
    play(guest, port, 4)
    for _ in range(3):
        worker = machine(port, token.token)
        worker.wait_for("the worker is ready")
        while not any(row.state == "leased" for row in rows(database_url, jobs)):
            if worker.process.poll() is not None or all(
                row.state == "done" for row in rows(database_url, jobs)
            ):
                break
            time.sleep(0.01)
        worker.stop(signal.SIGKILL)
        play(guest, port, 2)
    machine(port, token.token).wait_for("the worker is ready")
    found = until_made(database_url, 10)
    assert_whole(database_url, found)


def test_a_killed_server_is_waited_for_and_what_was_made_is_kept(run, machine, guest, token, database_url):
    port = free_port()
    options = ("serve", "--port", str(port), "--no-worker")
    server = run(*options)
    server.wait_for(r"is at http://\S+")
    worker = machine(port, token.token)
    worker.wait_for("the worker is ready")
    for _ in range(2):
        play(guest, port, 4)
        server.stop(signal.SIGKILL)
        worker.wait_for("does not answer")
        server = run(*options)
        server.wait_for(r"is at http://\S+")
    found = until_made(database_url, 8)
    assert_whole(database_url, found)
    assert worker.process.poll() is None, worker.text()
    assert "answers again" in worker.text()
    assert {row.attempts for row in found} == {1}, "an outage is no failure of any job"


def test_a_worker_waits_for_a_server_that_is_not_there_yet_and_ends_when_its_token_does(
    run, machine, guest, token, database_url
):
    port = free_port()
    worker = machine(port, token.token)
    worker.wait_for("does not answer")
    run("serve", "--port", str(port), "--no-worker").wait_for(r"is at http://\S+")
    worker.wait_for("the worker is ready")
    time.sleep(0.5)
    inside(database_url, lambda connection: tokens.revoke(connection, token.uid, None, "stolen", now()))
    assert worker.process.wait(timeout=20) == 1
    assert "error: http://127.0.0.1" in worker.text()
    assert "does not take this token" in worker.text()
    assert "Traceback" not in worker.text()
    # Another with the same token does not even begin.
    late = machine(port, token.token)
    assert late.process.wait(timeout=60) == 1
    assert "does not take this token" in late.text()


@pytest.mark.parametrize(
    ("arguments", "settings", "code", "words"),
    [
        ((), {"PICKAPIC_WORKER_TOKEN": ""}, 1, "needs a token"),
        (("--token-file", "no-such-file"), {}, 2, "does not exist"),
        (("--server", "http://203.0.113.7"), {}, 1, "in the clear"),
        (("--server", "pick.example.org"), {}, 1, "no address of a server"),
        ((), {"PICKAPIC_WORKER_TOKEN": "two words"}, 1, "the token is none"),
        ((), {"PICKAPIC_WORKER_TOKENS": "x"}, 1, "PICKAPIC_WORKER_TOKENS"),
    ],
)
def test_what_cannot_be_meant_is_said_at_once(machine, arguments, settings, code, words):
    process = machine(9, "x", *arguments, **settings)
    assert process.process.wait(timeout=60) == code
    assert words in " ".join(process.text().split())
    assert "Traceback" not in process.text()
