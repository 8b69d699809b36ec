"""Running the app under uvicorn, for `pickapic serve`."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI

from pickapic import logs
from pickapic.collect import schema
from pickapic.collect.database import open_database
from pickapic.records import InputError
from pickapic.settings import Settings
from pickapic.web.app import Beside, create_app
from pickapic.web.processes import Exchange, run_processes
from pickapic.web.service import Service

# Database threads answer to the event loop: at Python's 5 ms a busy loop would let each statement wait that
# long.
THREAD_SWITCH_SECONDS = 0.001
# What is left at the end of `stop_seconds`, rows to write and connections to close, has so long again.
REST_SECONDS = 5.0
# A terminal signals all processes at once, and the one that started the others passes it on: that is one signal.
SAME_SIGNAL_SECONDS = 1.0
# A request's headers must be there after this long; uvicorn itself would wait for ever, and each wait is a connection.
HEADER_SECONDS = 20.0
TICKS_A_LOOK = 20  # of a tenth of a second


class Server(uvicorn.Server):
    """Uvicorn that stops in order: says so first, then takes no more, then ends what is open, within a time."""

    def __init__(self, config: uvicorn.Config, app: FastAPI, settings: Settings, address: str) -> None:
        super().__init__(config)
        self._app = app
        self._settings = settings
        self._address = address
        self._asked: float | None = None
        self._waiting: dict[Any, float] = {}

    @property
    def _service(self) -> Service | None:
        return getattr(self._app.state, "service", None)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say where."""
        await super().startup(sockets=sockets)
        if self.started and self._address:
            print(f"Pick-a-Pic is at {self._address}", file=sys.stderr, flush=True)  # noqa: T201

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop; on a second signal be gone at once. What a worker here had leased is made by others then."""
        now = time.monotonic()
        if self._asked is None:
            self._asked = now
            # Nothing of this process has to go on for that: the system itself ends it.
            signal.alarm(
                math.ceil(self._settings.stop_delay_seconds + self._settings.stop_seconds + REST_SECONDS)
            )
        elif now - self._asked > SAME_SIGNAL_SECONDS:
            os._exit(128 + sig)

    async def on_tick(self, counter: int) -> bool:
        """Look now and then for clients who begin a request and do not go on, and for whether to stop."""
        if self._asked is not None:
            service = self._service
            if service is not None:
                service.ready.stopping.set()
            if time.monotonic() - self._asked >= self._settings.stop_delay_seconds:
                self.should_exit = True
        if counter % TICKS_A_LOOK == 0:
            self._hang_up(time.monotonic())
        return await super().on_tick(counter)

    def _hang_up(self, now: float) -> None:
        waiting = [one for one in self.server_state.connections if _waits_for_headers(one)]
        self._waiting = {one: self._waiting.get(one, now) for one in waiting}
        for one, since in self._waiting.items():
            if now - since > HEADER_SECONDS:
                one.transport.close()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop: whoever waits is sent home first."""
        service = self._service
        if service is not None:
            service.changes.close()
        await super().shutdown(sockets=sockets)


def _waits_for_headers(connection: Any) -> bool:
    """Return whether an HTTP connection of uvicorn has begun a request, or not even that, and no answer is under way.

    An idle one between two requests has a timer of its own.
    """
    cycle = getattr(connection, "cycle", None)
    is_idle = getattr(connection, "timeout_keep_alive_task", None) is not None
    return not is_idle and (cycle is None or cycle.response_complete)


def run(settings: Settings, beside: Sequence[Beside], processes: int = 1) -> None:
    """Serve until SIGTERM or Ctrl-C; `beside` runs in the first of the processes alone.

    Raises:
        InputError: the address cannot be listened on, or the settings do not fit.
    """
    log = logs.configure(settings.log_level, settings.log_format)
    listener = _listen(settings.host, settings.port)
    port = listener.getsockname()[1]
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    address = f"http://{host}:{port}"
    asyncio.run(_prepare(settings))
    if processes == 1:
        _serve(create_app(settings, beside, log=log), settings, address, listener)
        return
    create_app(settings)  # says once, before there are several, what does not fit

    def serve(number: int, exchange: Exchange) -> None:
        is_first = number == 0
        app = create_app(settings, beside if is_first else (), exchange, log)
        _serve(app, settings, address if is_first else "", listener)

    run_processes(processes, serve)


def _serve(app: FastAPI, settings: Settings, address: str, listener: socket.socket) -> None:
    sys.setswitchinterval(THREAD_SWITCH_SECONDS)
    server = Server(config_of(app, settings), app, settings, address)
    try:
        asyncio.run(server.serve(sockets=[listener]))
    except KeyboardInterrupt:
        return
    if not server.started:
        raise InputError("the server could not start; the lines above say why")


def config_of(app: FastAPI, settings: Settings) -> uvicorn.Config:
    """Return how uvicorn serves the app."""
    return uvicorn.Config(
        app,
        log_config=None,
        log_level="debug" if settings.log_level == "debug" else "warning",
        access_log=False,
        lifespan="on",
        timeout_graceful_shutdown=max(1, round(settings.stop_seconds)),
        server_header=False,
        proxy_headers=True,
        forwarded_allow_ips=settings.trusted_proxies,
    )


async def _prepare(settings: Settings) -> None:
    """Find out before the start, where an error is still told without a traceback, whether the database fits."""
    database = open_database(settings.database_url)
    try:
        await schema.upgrade_if_empty(database)
    finally:
        await database.close()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio switches Nagle off: an answer in two writes would wait 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise InputError(f"{host}:{port} cannot be listened on: {error}; choose another --port") from error
    return listener
