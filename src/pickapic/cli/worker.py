"""`pickapic worker`: makes the images that the web app queues, beside its database or from anywhere by HTTPS."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pickapic.cli import output

if TYPE_CHECKING:
    import asyncio

    from pickapic.collect.duels.wire import RulesSaid
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
    metrics_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Answer /metrics and /healthz at this port; default: nowhere."),
    ] = None,
    metrics_host: Annotated[str, typer.Option(help="Address for --metrics-port.")] = "127.0.0.1",
) -> None:
    """Make the images that wait in the queue, until stopped; several workers may run at once.

    With --server neither a database nor an image store is needed, only the generators of this machine's settings. On
    Ctrl-C or SIGTERM the image in the making is finished and the rest is given back.

    Examples: `PICKAPIC_DATABASE_URL=postgresql://db/pickapic pickapic worker`,
    `pickapic worker --server https://pick.example.org --token-file worker-token`
    """
    import asyncio

    from pickapic import logs
    from pickapic.settings import load_settings
    from pickapic.worker.stopping import leave

    settings = load_settings()
    logs.configure(settings.log_level, settings.log_format)
    at = (metrics_host, metrics_port)
    if server is None:
        if token_file is not None or insecure:
            output.fail("--token-file and --insecure go with --server", output.BAD_USAGE)
        asyncio.run(_run(settings, at))
    else:
        asyncio.run(_run_remote(settings, server, _token(token, token_file), insecure, at))
    leave()


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


async def _run(settings: Settings, metrics_at: tuple[str, int | None]) -> None:
    from pickapic.collect import schema
    from pickapic.collect.database import open_database
    from pickapic.storage.blobs import open_store
    from pickapic.storage.health import check_at_start
    from pickapic.worker import beside_database
    from pickapic.worker.endpoint import watched
    from pickapic.worker.stopping import stop_on_signals

    stop = stop_on_signals(settings.stop_seconds)
    database = open_database(settings.database_url)
    try:
        await schema.upgrade_if_empty(database)
        store = open_store(settings.images_url)
        await check_at_start(store)
        working = beside_database(settings, database, store)
        async with watched(working, *metrics_at):
            output.say("the worker is ready")
            await working.run(stop)
    finally:
        await database.close()


async def _run_remote(
    settings: Settings, server: str, token: str, insecure: bool, metrics_at: tuple[str, int | None]
) -> None:
    from pickapic.worker import Worker, own_name
    from pickapic.worker.endpoint import watched
    from pickapic.worker.remote import HttpDepot, fitted
    from pickapic.worker.stopping import stop_on_signals

    stop = stop_on_signals(settings.stop_seconds)
    name = own_name()
    async with HttpDepot(server, token, name, stop, insecure) as depot:
        rules = await _rules(depot, stop)
        if rules is None:
            return
        changed, unknown = fitted(settings, rules)
        if unknown:
            output.say(f"the server does not know {', '.join(unknown)}: nothing is made with it")
        working = Worker(changed, depot, name)
        async with watched(working, *metrics_at):
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


def beside(settings: Settings) -> Beside:
    """Return a worker that runs inside the web app's process, and stops when that begins to."""
    import asyncio

    from pickapic.worker import beside_database
    from pickapic.worker.figures import WorkerFigures

    async def work(service: Service) -> None:
        stop = service.ready.stopping
        working = beside_database(settings, service.database, service.store)
        service.metrics.registry.register(WorkerFigures(working))
        running = asyncio.create_task(working.run(stop))
        try:
            await asyncio.shield(running)
        finally:
            stop.set()
            await running

    return work
