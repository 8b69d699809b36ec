"""A worker with a database file and an image folder, and generators behind servers on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime

from sqlalchemy import select

from pickapic.collect import schema
from pickapic.collect.database import open_database
from pickapic.collect.duels import duel, views
from pickapic.collect.people import users
from pickapic.collect.tables import images
from pickapic.collect.tables import jobs as jobs_table
from pickapic.settings import load_settings
from pickapic.storage import blobs
from pickapic.worker import beside_database

QUICK = {"poll": 0.01, "first_pause": 0.01, "longest_pause": 0.02, "tries": 1, "answer": 5.0, "connect": 1.0}


def provider(url: str, **parameters) -> dict:
    """An entry of the settings: a server that speaks the OpenAI images API and honours a seed."""
    return {
        "plugin": "openai-images",
        "parameters": {"model": "m", "url": url + "/v1", "dialect": "vllm", "patience": QUICK, **parameters},
    }


class Workshop:
    def __init__(self, folder, **settings) -> None:
        self.settings = load_settings(home=folder, **{"image_classifier": "none", **settings})
        self.database = open_database(self.settings.database_url)
        self.store = blobs.open_store(self.settings.images_url)
        self.worker = beside_database(self.settings, self.database, self.store)

    async def __aenter__(self):
        await schema.upgrade_if_empty(self.database)
        self.user = await self.database.write(users.create_guest, now())
        return self

    async def __aexit__(self, *_):
        await self.database.close()

    async def start(self, prompt="a red cat") -> str:
        rng = random.Random(0)
        return await self.database.write(duel.start, self.settings, self.user, prompt, now(), rng)

    async def jobs(self):
        return await self.rows(jobs_table)

    async def images(self):
        return await self.rows(images)

    async def rows(self, table):
        query = select(table).order_by(table.c.id)
        return await self.database.read(lambda connection: connection.execute(query).all())

    async def states(self) -> Counter:
        return Counter(row.state for row in await self.jobs())

    async def look(self, uid):
        return await self.database.read(views.view, self.user, uid, now())

    async def until(self, condition, seconds: float = 20.0) -> None:
        """Wait until an async condition holds."""
        async with asyncio.timeout(seconds):
            while not await condition():
                await asyncio.sleep(0.02)

    async def until_done(self, count: int) -> None:
        async def is_done() -> bool:
            return (await self.states())["done"] >= count

        await self.until(is_done)

    @contextlib.asynccontextmanager
    async def at_work(self) -> AsyncIterator[asyncio.Event]:
        """Let the worker run; it is told to stop at the end, and waited for."""
        stop = asyncio.Event()
        running = asyncio.create_task(self.worker.run(stop))
        try:
            yield stop
        finally:
            stop.set()
            await asyncio.wait_for(running, 30)


def now() -> datetime:
    return datetime.now(UTC)
