"""The web app: `create_app(settings)` makes one; nothing is opened before it starts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import structlog
from fastapi import APIRouter, FastAPI

from pickapic import __version__, plugins
from pickapic.collect import schema
from pickapic.collect.database import open_database
from pickapic.collect.moderation import reviews
from pickapic.collect.quality import policy_from
from pickapic.logs import Log
from pickapic.settings import Settings, secret_key
from pickapic.storage import blobs
from pickapic.storage.health import check_at_start
from pickapic.web import errors
from pickapic.web.agreement import load_terms
from pickapic.web.arrivals import Arrivals
from pickapic.web.boards import Boards
from pickapic.web.changes import Changes
from pickapic.web.deliveries import Deliveries
from pickapic.web.exporting import Exporting
from pickapic.web.incoming import Incoming
from pickapic.web.languages import load_languages
from pickapic.web.machines import Machines
from pickapic.web.metrics import Metrics
from pickapic.web.processes import Exchange
from pickapic.web.quick import QuickImage, QuickPick
from pickapic.web.raw_tables import PATH as TABLES
from pickapic.web.raw_tables import RawTables
from pickapic.web.readiness import Ready
from pickapic.web.requests import AccessLog, RequestsMiddleware
from pickapic.web.routes import (
    account,
    admin,
    auth,
    duels,
    forms,
    gallery,
    health,
    images,
    leaderboard,
    me,
    mine,
    pages,
    reports,
    rounds,
    score,
    shares,
    sign_in,
    terms,
    worker,
)
from pickapic.web.scoring import Scoring
from pickapic.web.security import SecurityMiddleware
from pickapic.web.service import Service
from pickapic.web.sign_in import make_providers
from pickapic.web.statics import PREFIX, Statics
from pickapic.web.sweeping import sweeping
from pickapic.web.watch import watch

Beside = Callable[[Service], Coroutine[Any, Any, None]]
"""Runs beside the app while it serves, for instance a worker; cancelled when the app stops."""


def create_app(
    settings: Settings,
    beside: Sequence[Beside] = (),
    exchange: Exchange | None = None,
    log: Log | None = None,
) -> FastAPI:
    """Return the app. It opens the database and the image store when it starts, and closes them when it stops.

    With `exchange` it is one of several processes, whose metrics are added up. Requests are logged to `log`, if there
    is one and the settings wish it.

    Raises:
        InputError: a generator or scorer that is not installed, or a secret that cannot be used.
    """
    _check_plugins(settings)
    reviews.load(settings)
    policy_from(settings)  # says at once if the setting `quality` names no parameter
    secret = secret_key(settings)
    metrics = Metrics(exchange)
    access = AccessLog(log) if log is not None and settings.access_log else None

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        async with _open(settings, metrics) as service, AsyncExitStack() as stack:
            app.state.service = service
            if access is not None:
                await _run_beside(stack, access.run())
            await _run_beside(stack, service.changes.run())
            await _run_beside(stack, service.boards.run())
            await _run_beside(stack, service.deliveries.run())
            await _run_beside(stack, watch(service, secret))
            await _run_beside(stack, sweeping(service))
            app.state.arrivals = Arrivals(service)
            app.state.incoming = Incoming(service)
            await _run_beside(stack, app.state.arrivals.run())
            await _run_beside(stack, app.state.incoming.run())
            if exchange is not None:
                await _run_beside(stack, exchange.run(metrics.own_text))
            for work in beside:
                await _run_beside(stack, work(service))
            yield
            service.changes.close()
            app.state.exporting.stop()
            app.state.incoming.close()
            await app.state.tables.close()

    app = FastAPI(
        title="Pick-a-Pic",
        version=__version__,
        description="Write a prompt, see two images, pick the better one. Every call that changes something "
        "needs the header X-CSRF-Token with the value of the csrf cookie. Calls under /api/v1/worker are for machines: "
        "they show a token in the header Authorization, and no cookie counts.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.secret = secret
    app.state.languages = load_languages()
    app.state.providers = make_providers(settings)
    app.state.terms = load_terms(settings)
    app.state.exporting = Exporting(settings)
    app.state.tables = RawTables(settings)
    app.state.machines = Machines()
    app.add_middleware(SecurityMiddleware, secret=secret, settings=settings)
    app.add_middleware(RequestsMiddleware, metrics=metrics, access=access)
    errors.install(app)
    _add_routes(app)
    return app


def _add_routes(app: FastAPI) -> None:
    app.router.routes += [QuickImage(), QuickPick()]
    api = APIRouter(prefix="/api/v1")
    # The most frequent first: routes are tried in order.
    for router in (
        images.router,
        rounds.router,
        duels.router,
        me.router,
        leaderboard.router,
        gallery.router,
        score.router,
        worker.router,
    ):
        api.include_router(router)
    app.include_router(api)
    app.include_router(auth.router)
    app.include_router(auth.router, prefix="/api/v1", include_in_schema=False)
    app.include_router(health.router)
    for router in (pages.router, forms.router, sign_in.router, terms.router, account.router):
        app.include_router(router)
    for router in (mine.router, shares.router):
        app.include_router(router)
    app.include_router(reports.router, prefix="/api/v1")
    app.include_router(admin.router)
    app.mount(TABLES, app.state.tables, name="admin")
    app.mount(PREFIX, Statics(), name="static")


@asynccontextmanager
async def _open(settings: Settings, metrics: Metrics) -> AsyncGenerator[Service]:
    database = open_database(settings.database_url)
    scoring = Scoring(settings, metrics)
    try:
        await schema.upgrade_if_empty(database)
        scoring.warm_up()
        store = blobs.open_store(settings.images_url)
        await check_at_start(store)
        yield Service(
            settings=settings,
            database=database,
            store=store,
            changes=Changes(database),
            metrics=metrics,
            scoring=scoring,
            ready=Ready(settings, database, store, scoring, metrics),
            boards=Boards(database, settings),
            deliveries=Deliveries(database),
        )
    finally:
        scoring.close()
        await database.close()


def _check_plugins(settings: Settings) -> None:
    wanted = [(plugins.GENERATORS, choice.plugin) for choice in settings.generators]
    wanted += [(plugins.SCORERS, settings.scorer)] if settings.scorer else []
    for group, name in wanted:
        if name not in plugins.installed(group):
            plugins.load(group, name)  # says what is wrong, and which name is near


async def _run_beside(stack: AsyncExitStack, work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.create_task(work)
    task.add_done_callback(_report)

    async def stop() -> None:
        task.cancel()
        await asyncio.wait([task])

    stack.push_async_callback(stop)


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        structlog.get_logger("pickapic.web").error("stopped", task=task.get_name(), exc_info=error)
