"""A store that says "no such file" answers: a worker that waited for it goes on with other work."""

import asyncio

import pytest
from workshop import Workshop

from pickapic.worker import trouble
from pickapic.worker.depot import AwayError


def test_a_missing_file_ends_the_wait_for_the_store(tmp_path, monkeypatch):
    monkeypatch.setattr(trouble, "FIRST_PAUSE", 0.01)
    answers = iter([AwayError("the store does not answer"), KeyError("gone")])

    async def fetch() -> bytes:
        raise next(answers)

    async def play():
        async with Workshop(tmp_path) as shop:
            await shop.start()
            with pytest.raises(KeyError):
                await shop.worker._insist(fetch)
            assert await shop.worker.work_once(), "it leases jobs again"

    asyncio.run(play())
