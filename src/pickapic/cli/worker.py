"""`pickapic worker`: makes the images that the web app queues."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pickapic.settings import Settings
    from pickapic.web.app import Beside
    from pickapic.web.service import Service


def worker() -> None:
    """Make the images that wait in the queue, until stopped; several workers may run at once.

    On Ctrl-C or SIGTERM the image in the making is finished and the rest is given back.

    Example: `PICKAPIC_DATABASE_URL=postgresql://db/pickapic pickapic worker`
    """
    import asyncio

    from pickapic.settings import load_settings

    asyncio.run(_run(load_settings()))


async def _run(settings: Settings) -> None:
    import asyncio
    import signal

    from pickapic.cli import output
    from pickapic.collect import schema
    from pickapic.collect.database import open_database
    from pickapic.storage.blobs import open_store
    from pickapic.worker import beside_database

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    database = open_database(settings.database_url)
    try:
        await schema.upgrade_if_empty(database)
        output.say("the worker is ready")
        await beside_database(settings, database, open_store(settings.images_url)).run(stop)
    finally:
        await database.close()


def beside(settings: Settings) -> Beside:
    """Return a worker that runs inside the web app's process."""
    import asyncio

    from pickapic.worker import beside_database

    async def work(service: Service) -> None:
        stop = asyncio.Event()
        running = asyncio.create_task(beside_database(settings, service.database, service.store).run(stop))
        try:
            await asyncio.shield(running)
        finally:
            stop.set()
            await running

    return work
