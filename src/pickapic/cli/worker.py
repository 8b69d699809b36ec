"""`pickapic worker`: makes the images that the web app queues, beside its database or from anywhere by HTTPS."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pickapic.cli import output

if TYPE_CHECKING:
    import asyncio

    from pickapic.collect.wire import RulesSaid
    from pickapic.settings import Settings
    from pickapic.web.app import Beside
    from pickapic.web.service import Service
    from pickapic.worker.remote import HttpDepot


def worker(
    server: Annotated[
        str | None, typer.Option(help="Make images for the server at this address; default: the database's.")
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="PICKAPIC_WORKER_TOKEN",
            help="Token for --server, of `pickapic admin tokens`; here other users of this machine may see it.",
        ),
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="File that holds the token.", exists=True, dir_okay=False)
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Send the token over http:// too, readable on the way.")
    ] = False,
) -> None:
    """Make the images that wait in the queue, until stopped; several workers may run at once.

    With --server neither a database nor an image store is needed, only the generators of this machine's settings. On
    Ctrl-C or SIGTERM the image in the making is finished and the rest is given back.

    Examples: `PICKAPIC_DATABASE_URL=postgresql://db/pickapic pickapic worker`,
    `pickapic worker --server https://pick.example.org --token-file worker-token`
    """
    import asyncio

    from pickapic.settings import load_settings

    settings = load_settings()
    if server is None:
        if token_file is not None or insecure:
            output.fail("--token-file and --insecure go with --server", output.BAD_USAGE)
        asyncio.run(_run(settings))
    else:
        asyncio.run(_run_remote(settings, server, _token(token, token_file), insecure))


def _token(token: str | None, token_file: Path | None) -> str:
    from pickapic.records import InputError

    if token_file is not None:
        token = token_file.read_text(encoding="utf-8", errors="replace")
    found = (token or "").strip()
    if not found:
        raise InputError(
            "--server needs a token: --token-file FILE, or the environment variable PICKAPIC_WORKER_TOKEN; "
            "the server's machine makes one: pickapic admin tokens create worker LABEL"
        )
    if not found.isascii() or not found.isprintable() or " " in found:
        raise InputError("the token is none: it is one line of letters, digits, - and _")
    return found


async def _run(settings: Settings) -> None:
    from pickapic.collect import schema
    from pickapic.collect.database import open_database
    from pickapic.storage.blobs import open_store
    from pickapic.worker import beside_database

    stop = _stop_signal()
    database = open_database(settings.database_url)
    try:
        await schema.upgrade_if_empty(database)
        output.say("the worker is ready")
        await beside_database(settings, database, open_store(settings.images_url)).run(stop)
    finally:
        await database.close()


async def _run_remote(settings: Settings, server: str, token: str, insecure: bool) -> None:
    from pickapic.worker import Worker, own_name
    from pickapic.worker.remote import HttpDepot, fitted

    stop = _stop_signal()
    name = own_name()
    async with HttpDepot(server, token, name, stop, insecure) as depot:
        rules = await _rules(depot, stop)
        if rules is None:
            return
        changed, unknown = fitted(settings, rules)
        if unknown:
            output.say(f"the server does not know {', '.join(unknown)}: nothing is made with it")
        working = Worker(changed, depot, name)
        output.say(f"the worker is ready; it makes {', '.join(changed.worker_generators)} for {server}")
        await working.run(stop)
        if depot.turned_away is not None:
            raise depot.turned_away


async def _rules(depot: HttpDepot, stop: asyncio.Event) -> RulesSaid | None:
    """Return the server's rules once it answers; None if the worker is stopped before."""
    import asyncio
    import contextlib

    from pickapic.worker import AwayError
    from pickapic.worker.trouble import FIRST_PAUSE, LONGEST_PAUSE

    pause = FIRST_PAUSE
    while not stop.is_set():
        try:
            return await depot.rules()
        except AwayError as error:
            output.say(f"{error}; trying again in {pause:.0f} s" if pause >= 1 else f"{error}; trying again")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), pause)
        pause = min(2 * pause, LONGEST_PAUSE)
    return None


def _stop_signal() -> asyncio.Event:
    """Return an event that is set when the process is asked to end."""
    import asyncio
    import signal

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


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
