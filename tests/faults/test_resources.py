"""A full disk, and a provider that takes its time: what is shown goes on, nothing is lost."""

import time
from contextlib import ExitStack

import pytest
from deployment import MINIATURE, Deployment
from disk import SmallDisk
from people import People

from provider_server import ProviderServer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PEOPLE = 4


def test_a_full_disk_holds_work_up_and_loses_nothing(postgresql, tmp_path):
    with ExitStack() as stack:
        disk = stack.enter_context(SmallDisk(tmp_path / "images"))
        deployment = stack.enter_context(Deployment(tmp_path / "home", postgresql.url, str(disk.folder), {}))
        with People(deployment.url, PEOPLE, deployment.state) as people:
            people.recovery(time.monotonic())
            disk.fill(deployment)
            time.sleep(8)
            # What was made before is still shown and picked; then everybody waits.
            held_up = people.picks()
            time.sleep(2)
            assert people.picks() - held_up <= PEOPLE
            disk.clear(deployment)
            first, everybody = people.recovery(time.monotonic())
            print(
                f"full disk ({disk.kind}): first pick after {first:.1f} s, everybody after {everybody:.1f} s"
            )
        assert "no room left" in deployment.logs()
        assert deployment.faults(people.memories) == []


def test_a_slow_provider_holds_nobody_else_up(postgresql, tmp_path):
    with ProviderServer() as provider, ExitStack() as stack:
        provider.openai()
        quick = provider.routes["POST", "/v1/images/generations"]
        delay = 0.0

        def generate(seen):
            time.sleep(delay)
            return quick(seen)

        provider.routes["POST", "/v1/images/generations"] = generate
        entry = {
            "plugin": "openai-images",
            "parameters": {"model": "m", "url": f"{provider.url}/v1", "dialect": "vllm", "size": "64x64"},
        }
        generators = {**MINIATURE, "elsewhere": entry}
        deployment = stack.enter_context(
            Deployment(tmp_path / "home", postgresql.url, str(tmp_path / "images"), {}, generators)
        )
        with People(deployment.url, PEOPLE, deployment.state) as people:
            people.recovery(time.monotonic())
            assert provider.seen
            delay = 3.0
            before, start = people.picks(), time.monotonic()
            time.sleep(12)
            slow = (people.picks() - before) / (time.monotonic() - start)
            delay = 0.0
            first, everybody = people.recovery(time.monotonic())
            print(
                f"slow provider (3 s an image, one model of four): {slow:.1f} picks/s meanwhile, "
                f"first pick after {first:.1f} s, everybody after {everybody:.1f} s"
            )
            assert slow > 1, "three models of four are as quick as ever"
        assert deployment.faults(people.memories) == []
