"""Whatever breaks: no image that was shown is lost, no pick that was stored is lost or doubled, every duel goes on.

Six people pick through one server, with three workers, PostgreSQL and a bucket, while things break one after the other.
The times until everybody picks again are printed (pytest -rP); `benchmarks/faults.py` measures them by itself.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from deployment import Deployment
from front import Front
from people import People

from s3_servers import Servers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

PEOPLE = 6


class Broken:
    """A deployment whose bucket stands behind a front, and the people on it."""

    def __init__(self, deployment: Deployment, front: Front, people: People) -> None:
        self.deployment = deployment
        self.front = front
        self.people = people

    def warm(self) -> None:
        """Wait until everybody has picked."""
        self.people.recovery(time.monotonic())

    def tell(self, what: str, since: float) -> None:
        """Print how long it took, from `since` until everybody picked again."""
        first, everybody = self.people.recovery(since)
        print(f"{what}: first pick after {first:.1f} s, everybody picks after {everybody:.1f} s")


@pytest.fixture(scope="module")
def kind(request) -> str:
    return request.param


# What has nothing to do with the bucket is broken on one of them.
ON_ONE = pytest.mark.parametrize("kind", ["rclone"], indirect=True, scope="module")
ON_BOTH = pytest.mark.parametrize("kind", ["rclone", "moto"], indirect=True, scope="module")


@pytest.fixture(scope="module")
def broken(kind: str, postgresql, servers: Servers, tmp_path_factory) -> Iterator[Broken]:
    """On leaving, everything must still be as the people remember it."""
    bucket = servers.bucket(kind)
    with ExitStack() as stack:
        front = stack.enter_context(Front(bucket.port))
        url = bucket.url("images", port=front.port)
        folder = tmp_path_factory.mktemp("home")
        deployment = stack.enter_context(Deployment(folder, postgresql.url, url, bucket.environment))
        with People(deployment.url, PEOPLE, deployment.state) as people:
            yield Broken(deployment, front, people)
        assert deployment.faults(people.memories) == []
        assert people.picks() >= 2 * PEOPLE
        print(
            f"{kind}: {people.picks()} picks, {sum(len(one.images) for one in people.memories)} images, none lost"
        )


@ON_BOTH
def test_kill_9_of_all_workers(broken, kind):
    broken.warm()
    start = time.monotonic()
    broken.deployment.kill_workers()
    broken.deployment.start_workers()
    broken.tell(f"{kind}: kill -9 of three workers", start)


@ON_ONE
def test_kill_9_of_the_server(broken, kind):
    broken.warm()
    start = time.monotonic()
    broken.deployment.kill_server()
    broken.deployment.start_server()
    broken.tell(f"{kind}: kill -9 of the server", start)


@ON_ONE
def test_the_database_crashes_and_comes_back(broken, kind, postgresql):
    broken.warm()
    start = time.monotonic()
    postgresql.crash()
    time.sleep(1)
    postgresql.start()
    broken.tell(f"{kind}: PostgreSQL stopped with -m immediate, started a second later", start)


@ON_BOTH
def test_the_bucket_refuses_for_a_while(broken, kind):
    broken.warm()
    seconds = 30 if kind == "rclone" else 8
    broken.front.become("refusing")
    time.sleep(seconds)
    assert broken.front.refused > 3
    broken.front.become("open")
    broken.tell(f"{kind}: the bucket refused for {seconds} s; from its end", time.monotonic())


@ON_ONE
def test_the_bucket_hangs_for_a_while(broken, kind):
    broken.warm()
    before = broken.front.refused
    broken.front.become("hanging")
    time.sleep(12)
    assert broken.front.refused > before
    broken.front.become("open")
    broken.tell(f"{kind}: the bucket hung for 12 s; from its end", time.monotonic())


@ON_BOTH
def test_everything_at_once(broken, kind, postgresql):
    broken.warm()
    start = time.monotonic()
    broken.front.become("refusing")
    broken.deployment.kill_workers()
    broken.deployment.kill_server()
    postgresql.crash()
    postgresql.start()
    broken.deployment.start_server()
    broken.deployment.start_workers()
    broken.front.become("open")
    broken.tell(f"{kind}: everything at once", start)
