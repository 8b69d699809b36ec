"""A worker's own address for machinery: GET /metrics, and /healthz, which answers as long as the worker's loop runs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry, generate_latest

from pickapic.records import InputError
from pickapic.worker.figures import WorkerFigures
from pickapic.worker.worker import Worker

LARGEST_REQUEST = 8192
REQUEST_SECONDS = 5.0


@asynccontextmanager
async def watched(worker: Worker, host: str, port: int | None) -> AsyncGenerator[None]:
    """Tell a worker's figures at an address while the block runs; no port: nowhere. Raises as `endpoint`."""
    if port is None:
        yield
        return
    registry = figures_of(worker)
    async with endpoint(host, port, lambda: generate_latest(registry)):
        yield


def figures_of(worker: Worker) -> CollectorRegistry:
    """Return a registry of a worker's figures alone."""
    registry = CollectorRegistry()
    registry.register(WorkerFigures(worker))
    return registry


@asynccontextmanager
async def endpoint(host: str, port: int, metrics: Callable[[], bytes]) -> AsyncGenerator[int]:
    """Answer while the block runs; yields the port, which `port` 0 leaves to the system.

    Raises:
        InputError: the address cannot be listened on.
    """

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(
            OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError
        ):
            async with asyncio.timeout(REQUEST_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(_reply(head, metrics))
                await writer.drain()
        writer.close()

    try:
        server = await asyncio.start_server(answer, host, port, limit=LARGEST_REQUEST)
    except OSError as error:
        raise InputError(f"{host}:{port} cannot be listened on for metrics: {error.strerror}") from error
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def _reply(head: bytes, metrics: Callable[[], bytes]) -> bytes:
    method, _, rest = head.partition(b" ")
    path = rest.partition(b" ")[0].partition(b"?")[0]
    kind = "text/plain; charset=utf-8"
    if method != b"GET":
        status, body = "405 Method Not Allowed", b"GET alone\n"
    elif path == b"/metrics":
        status, body, kind = "200 OK", metrics(), "text/plain; version=0.0.4; charset=utf-8"
    elif path == b"/healthz":
        status, body = "200 OK", b"ok\n"
    else:
        status, body = "404 Not Found", b"/metrics and /healthz\n"
    lines = (
        f"HTTP/1.1 {status}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
        "Connection: close",
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
