"""A worker's way to a server over HTTPS: a token is all that its machine needs, no database and no image store.

The server decides what counts; what it says is read as strictly as it reads what it is told. A worker that is turned
away (its token is revoked, the server is of another version) ends; a server that is only away is waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import re
import time
from collections.abc import Collection, Mapping, Sequence
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
import structlog
from pydantic import ValidationError

from pickapic import __version__
from pickapic.collect.duels import wire
from pickapic.collect.duels.handover import Report
from pickapic.collect.queue.jobs import Job
from pickapic.collect.queue.workers import OWN_NAME
from pickapic.records import InputError
from pickapic.settings import Settings
from pickapic.worker.depot import AwayError

M = TypeVar("M", bound=wire.Message)

CONNECT_SECONDS = 10.0
# Shorter than servers and proxies keep a connection that nobody uses.
KEPT = httpx.Limits(keepalive_expiry=4.0)
ANSWER_SECONDS = 60.0
# What an idle worker waits after an answer that came too soon to be the end of a wait, and while it makes something.
SHORT_PAUSE = 0.5
SOON_SECONDS = 1.0
# Files go through the server for so long before it is asked again: there is no bucket, or it takes none from here.
DETOUR_SECONDS = 300.0
STORE_TRIES = 2
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses after which the same call may succeed."""
BROKEN = (400, 422)
"""Likewise for a file, which may have been broken on the way."""


class TurnedAwayError(InputError):
    """The server wants nothing of this worker, now or later; the message says why."""


class HttpDepot:
    """A server, as a worker's depot; see `worker.depot`.

    Once the server turns the worker away, `turned_away` says why, `stop` is set, and every call answers at once with
    nothing, so that the worker winds up.

    Raises InputError for an address that cannot be meant, or that would send the token in the clear.
    """

    def __init__(
        self,
        server: str,
        token: str,
        name: str,
        stop: asyncio.Event,
        insecure: bool = False,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.turned_away: TurnedAwayError | None = None
        self._stop = stop
        self._insecure = insecure
        self._pause = 0.0
        self._detour_until = 0.0
        self._store_failures = 0
        self._log = structlog.get_logger("pickapic.worker")
        limits = httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS)
        headers = {
            "Authorization": f"Bearer {token}",
            wire.WORKER_HEADER: _fit_name(name),
            wire.PROTOCOL_HEADER: str(wire.PROTOCOL),
            "User-Agent": f"pickapic/{__version__}",
        }
        self._address = checked_address(server, insecure)
        self._server = httpx.AsyncClient(
            base_url=self._address, headers=headers, timeout=limits, limits=KEPT, transport=transport
        )
        # Another client: what is sent to the store must not carry the token.
        self._store = httpx.AsyncClient(timeout=limits)

    async def __aenter__(self) -> HttpDepot:
        """Return itself; its connections are closed at the end."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self._server.aclose()
        await self._store.aclose()

    @property
    def pause(self) -> float:
        """Seconds after which an idle worker asks again; it has waited at the server already."""
        return self._pause

    async def rules(self) -> wire.RulesSaid:
        """Return what the server wants its workers to know.

        Raises:
            TurnedAwayError: the token is not good, or the server is of another version.
            AwayError: it does not answer now.
        """
        reply = await self._call("GET", "/settings")
        if self.turned_away is not None:
            raise self.turned_away
        return self._read(wire.RulesSaid, reply)

    async def turn(self, report: Report) -> list[Job]:
        """See `Depot`. With nothing to tell and nothing to do, wait at the server until there is."""
        is_idle = not report.results and not report.holding and report.want > 0
        wait = wire.LONGEST_WAIT if is_idle and not self._stop.is_set() else 0.0
        message = wire.report_said(report, wait).model_dump()
        start = time.monotonic()
        asking = asyncio.ensure_future(self._call("POST", "/turn", message, wait))
        if wait and not await _before(self._stop, asking):
            # What the server may have given meanwhile it takes back at the next turn, which does not name it.
            return []
        reply = await asking
        if self.turned_away is not None:
            return []
        jobs = [wire.job_of(said) for said in self._read(wire.JobsSaid, reply).jobs]
        is_soon = bool(wait) and not jobs and time.monotonic() - start < SOON_SECONDS
        self._pause = SHORT_PAUSE if is_soon or report.holding else 0.0
        return jobs

    async def heartbeat(self, ids: Collection[int]) -> set[int]:
        """See `Depot`."""
        reply = await self._call("POST", "/heartbeat", {"jobs": list(ids)[: wire.MOST_HELD]})
        return set() if self.turned_away is not None else set(self._read(wire.Held, reply).jobs)

    async def store(self, data: bytes, sha256: str) -> None:
        """See `Depot`: to the address that the server gives, of the image store where it is a bucket, else its own."""
        if len(data) > wire.LARGEST_IMAGE:
            return  # the server will say that it was never brought, and the job will say so too
        if time.monotonic() < self._detour_until:
            await self._bring_to_server(data, sha256)
            return
        reply = await self._call("POST", "/uploads", {"sha256": sha256, "size": len(data)})
        if self.turned_away is not None:
            return
        upload = self._read(wire.Upload, reply)
        if upload.url.startswith("/"):
            self._detour_until = time.monotonic() + DETOUR_SECONDS
            await self._bring_to_server(data, sha256)
        else:
            await self._bring(upload, data)

    async def _bring_to_server(self, data: bytes, sha256: str) -> None:
        await self._call("PUT", f"/files/{sha256}", content=data, passing=BROKEN)

    async def _bring(self, upload: wire.Upload, data: bytes) -> None:
        try:
            address = checked_address(upload.url, self._insecure)
            reply = await self._store.put(address, content=data, headers=upload.headers)
            if reply.is_success:
                self._store_failures = 0
                return
            trouble = f"it answers {reply.status_code}"
        except (httpx.HTTPError, httpx.InvalidURL, InputError) as error:
            trouble = str(error) or type(error).__name__
        self._store_failures += 1
        if self._store_failures >= STORE_TRIES:
            self._store_failures = 0
            self._detour_until = time.monotonic() + DETOUR_SECONDS
            self._log.warning("the image store takes no files; they go through the server", error=trouble)
        raise AwayError(f"the image store does not take an image: {trouble}")

    async def fetch(self, sha256: str) -> bytes:
        """See `Depot`; the server gives only what a job is made from that this worker holds."""
        reply = await self._call("GET", f"/files/{sha256}", absent=404)
        if self.turned_away is not None or reply.status_code == 404:
            raise KeyError(sha256)
        return reply.content

    async def blocked(self) -> Sequence[int]:
        """Return none: the server looks at every image itself."""
        return ()

    async def _call(
        self,
        method: str,
        path: str,
        message: Mapping[str, Any] | None = None,
        wait: float = 0.0,
        content: bytes | None = None,
        absent: int = 0,
        passing: Collection[int] = (),
    ) -> httpx.Response:
        """Return the answer to a call, unless the server is away; see `turned_away` afterwards.

        Raises:
            AwayError: no answer, or one that says to come back later.
        """
        if self.turned_away is not None:
            return httpx.Response(204)
        timeout = httpx.Timeout(ANSWER_SECONDS + wait, connect=CONNECT_SECONDS)
        request = self._server.build_request(
            method, f"{wire.PATH}{path}", json=message, content=content, timeout=timeout
        )
        try:
            reply = await self._send(request)
        except httpx.HTTPError as error:
            said = str(error) or type(error).__name__
            raise AwayError(f"{self._address} does not answer: {said}") from error
        if reply.is_success or reply.status_code == absent:
            return reply
        said = _said(reply)
        if reply.status_code in PASSING or reply.status_code in passing:
            raise AwayError(f"{self._address} answers {reply.status_code}: {said}")
        # A redirect, a 404 of something that is no Pick-a-Pic, a refusal: the same again would be answered likewise.
        self._turn_away(_reason(reply.status_code, said, self._address))
        return reply

    async def _send(self, request: httpx.Request) -> httpx.Response:
        try:
            return await self._server.send(request)
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            # The server closed a connection that was kept open, just as it was used again. Every call here may be
            # repeated.
            return await self._server.send(request)

    def _read(self, kind: type[M], reply: httpx.Response) -> M:
        try:
            return kind.model_validate_json(reply.content)
        except ValidationError as error:
            # For instance a page that a proxy shows instead of the server.
            raise AwayError(f"{self._address} answers something else than it should") from error

    def _turn_away(self, reason: str) -> None:
        self.turned_away = TurnedAwayError(reason)
        self._stop.set()


def checked_address(address: str, insecure: bool) -> str:
    """Return the address of a server, without a slash at its end.

    Raises:
        InputError: it is none; or it is http:// to another machine, where everybody on the way could read the token.
    """
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise InputError(f"{address!r} is no address of a server; it looks like https://pick.example.org")
    if parts.scheme == "http" and not insecure and not _is_loopback(parts.hostname):
        raise InputError(
            f"{parts.scheme}://{parts.netloc} would send the token in the clear: use https://, "
            "or --insecure on a network where nobody listens"
        )
    return address.rstrip("/")


def fitted(settings: Settings, rules: wire.RulesSaid) -> tuple[Settings, list[str]]:
    """Return a machine's settings as the server's rules change them, and which of its generators nobody there knows.

    Raises:
        InputError: the server knows none of them.
    """
    only = settings.worker_generators
    own = [choice.name for choice in settings.generators if not only or choice.name in only]
    known = tuple(name for name in own if name in rules.generators)
    if not known:
        raise InputError(
            f"the server knows none of this machine's generators ({', '.join(own)}); it knows "
            f"{', '.join(rules.generators)}. They are set here by the setting generators (docs/workers.md)"
        )
    changed = {
        "worker_generators": known,
        "lease_seconds": rules.lease_seconds,
        "image_size": rules.image_size,
        "image_classifier": rules.classifier,
        "image_threshold": rules.image_threshold,
    }
    return settings.model_copy(update=changed), [name for name in own if name not in known]


async def _before(stop: asyncio.Event, asking: asyncio.Future[Any]) -> bool:
    """Wait for `asking` and return True; or cancel it once `stop` is set, and return False."""
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({asking, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        if not asking.done():
            asking.cancel()
            with contextlib.suppress(asyncio.CancelledError, AwayError):
                await asking
    return not asking.cancelled()


def _reason(status: int, said: str, address: str) -> str:
    if status == 401:
        return (
            f"{address} does not take this token: {said} Make a new one there: "
            "pickapic admin tokens create worker LABEL"
        )
    if status == 409:
        return f"{said} (This worker is Pick-a-Pic {__version__}.)"
    if 300 <= status < 400:
        return (
            f"{address} sends this worker elsewhere ({status}): give the address where the server really is"
        )
    return (
        f"{address} refuses what this worker says ({status}): {said} Is it Pick-a-Pic {__version__} as well?"
    )


def _said(reply: httpx.Response) -> str:
    """Return the message of an error, as far as it is one of a Pick-a-Pic server."""
    try:
        found = reply.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        return "no reason is given."
    return str(found)[:300]


def _fit_name(name: str) -> str:
    """Return a worker's name in the characters that a server takes; hosts have stranger ones."""
    fit = re.sub(r"[^A-Za-z0-9._-]", "-", name).strip("-._")[-51:].lstrip("-._")
    return fit if OWN_NAME.fullmatch(fit) else "worker"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False
