"""What is noted of every request: its id, its route, its status and its time, for the metrics and for the log.

A line of the log is made some time after the answer, with others, and in another thread: nobody waits for it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from random import Random

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pickapic.logs import REQUEST_ID, Log, Request
from pickapic.web.metrics import Metrics
from pickapic.web.security import QUIET_PATHS

API = "/api/v1"
SECONDS_BETWEEN_WRITES = 0.25
# More than a process can answer between two writes.
REQUESTS_KEPT = 50_000
# Those that are so many, or so regular, that they are logged at level debug alone. Images are not among them.
UNLOGGED = tuple(path for path in QUIET_PATHS if not path.startswith(API))
HEADER = b"x-request-id"


class AccessLog:
    """Requests that were answered and are not written yet."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._unwritten: list[Request] = []
        self.unlogged: tuple[str, ...] = () if log.level <= logging.DEBUG else UNLOGGED

    def add(self, request: Request) -> None:
        """Note a request."""
        if len(self._unwritten) < REQUESTS_KEPT:
            self._unwritten.append(request)

    async def run(self) -> None:
        """Write until cancelled, then the rest."""
        try:
            while True:
                await asyncio.sleep(SECONDS_BETWEEN_WRITES)
                if self._unwritten:
                    await asyncio.to_thread(self.write)
        finally:
            self.write()

    def write(self) -> None:
        """Write what was noted since the last time."""
        requests, self._unwritten = self._unwritten, []
        self._log.write_requests(requests)


class RequestsMiddleware:
    """Outermost: gives each HTTP request an id, which its answer brings, and times the answer up to its first byte."""

    def __init__(self, app: ASGIApp, metrics: Metrics, access: AccessLog | None) -> None:
        self._app = app
        self._metrics = metrics
        self._access = access
        # Not a number that goes up, which would tell how much goes on; nor what a client sends, which is not believed.
        self._ids = Random()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()
        request_id = f"{self._ids.getrandbits(64):016x}"
        REQUEST_ID.set(request_id)

        async def timed(message: Message) -> None:
            if message["type"] == "http.response.start":
                seconds = time.perf_counter() - start
                message["headers"] = [*message.get("headers", ()), (HEADER, request_id.encode())]
                self._note(scope, request_id, message["status"], seconds)
            await send(message)

        await self._app(scope, receive, timed)

    def _note(self, scope: Scope, request_id: str, status: int, seconds: float) -> None:
        # A route knows its path below the router that holds it; the API's have a prefix before that.
        route = getattr(scope.get("route"), "path", "other")
        path: str = scope["path"]
        if path.startswith(API) and not route.startswith(API):
            route = API + route
        method: str = scope["method"]
        self._metrics.observe(method, route, status, seconds)
        access = self._access
        if access is not None and (status >= 500 or not path.startswith(access.unlogged)):
            access.add(Request(time.time(), request_id, method, route, status, seconds * 1000))
