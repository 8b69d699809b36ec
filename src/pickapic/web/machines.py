"""Machines that show a token: `Authorization: Bearer ...`. Cookies and CSRF tokens play no part for them.

A page of another site cannot make a browser send that header without being asked first, and nothing here allows it
to; so there is nothing to forge. A token opens the calls of its kind and no other: elsewhere the header is not read.
"""

from __future__ import annotations

import hashlib
import ipaddress
import math
import time
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Request, Security
from fastapi.security import HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials
from starlette.exceptions import HTTPException

from pickapic import __version__
from pickapic.collect.duels import wire
from pickapic.collect.people import tokens
from pickapic.collect.people.tokens import Machine
from pickapic.collect.queue import workers
from pickapic.collect.refusals import ConflictError, LimitError
from pickapic.web.service import Recent, Service, ServiceHere, now

# A token that is revoked in another process opens nothing here after this long.
FRESH_SECONDS = 2.0
TOKENS_KEPT = 10_000
ADDRESSES_KEPT = 10_000
MOST_FAILURES = 20
FAILURE_SECONDS = 60.0

bearer = HTTPBearer(auto_error=False, scheme_name="token", description="A token of `pickapic admin tokens`.")
Credentials = Annotated[HTTPAuthorizationCredentials | None, Security(bearer)]


class Machines:
    """The tokens that this process has seen lately, and the addresses that sent wrong ones."""

    def __init__(self) -> None:
        self._known: Recent[bytes, tuple[float, Machine]] = Recent(TOKENS_KEPT)
        self._failures: Recent[str, tuple[float, int]] = Recent(ADDRESSES_KEPT)

    async def machine(self, service: Service, token: str, address: str) -> Machine | None:
        """Return who holds `token`, or None; `address` is where the call comes from.

        Raises:
            LimitError: too many wrong tokens came from there. One that was right here before is looked at all the same,
                so that nobody shuts a neighbour out.
        """
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        known = self._known.get(digest)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        if known is None:
            self._refuse_if_often_wrong(address)
        moment = now()
        machine = await service.database.read(tokens.machine, token, moment)
        if machine is None:
            self._known.drop(digest)
            self._failed(address)
            return None
        if machine.used_at is None or moment - machine.used_at >= tokens.NOTED_EVERY:
            await service.database.write(tokens.note_use, machine.token_id, moment)
        self._known.put(digest, (time.monotonic() + FRESH_SECONDS, machine))
        return machine

    def forget(self) -> None:
        """Look at every token anew: one was revoked."""
        self._known.clear()

    def _refuse_if_often_wrong(self, address: str) -> None:
        since, count = self._failures.get(address) or (0.0, 0)
        left = since + FAILURE_SECONDS - time.monotonic()
        if count >= MOST_FAILURES and left > 0:
            raise LimitError("Too many wrong tokens came from this address.", math.ceil(left))

    def _failed(self, address: str) -> None:
        since, count = self._failures.get(address) or (0.0, 0)
        if time.monotonic() - since > FAILURE_SECONDS:
            since, count = time.monotonic(), 0
        self._failures.put(address, (since, count + 1))


def _address_of(request: Request) -> str:
    """Return where a call comes from; of an IPv6 address what one network gets."""
    host = request.client.host if request.client else ""
    try:
        parsed = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is None:
        return ipaddress.ip_network((parsed, 64), strict=False).compressed
    return parsed.compressed


async def machine_behind(request: Request, service: Service, token: str | None, kind: tokens.Kind) -> Machine:
    """Return the machine that sent a request with `token`.

    Raises:
        HTTPException: 401, there is no such token, or it is of another kind, revoked, or has run out.
        LimitError: too many wrong ones came from there.
    """
    machines: Machines = request.app.state.machines
    found = await machines.machine(service, token, _address_of(request)) if token else None
    if found is None or found.kind != kind:
        challenge = 'Bearer realm="pickapic"' + (', error="invalid_token"' if token else "")
        message = "The token is wrong, revoked or expired." if token else "A token is needed for this."
        raise HTTPException(401, message, {"WWW-Authenticate": challenge})
    return found


class ProtocolError(ConflictError):
    """The worker is of another version than the server."""

    code = "protocol"


@dataclass(frozen=True, slots=True)
class RemoteWorker:
    """A worker that came over HTTPS; `name` is its name here, `token` what it showed."""

    name: str
    machine: Machine
    token: str


async def _worker_machine(request: Request, service: ServiceHere, credentials: Credentials) -> Machine:
    return await machine_behind(request, service, _shown(credentials), tokens.WORKER)


async def _worker(
    machine: Annotated[Machine, Depends(_worker_machine)],
    credentials: Credentials,
    own_name: Annotated[str, Header(alias=wire.WORKER_HEADER, pattern=f"^{workers.OWN_NAME.pattern}$")],
    protocol: Annotated[int, Header(alias=wire.PROTOCOL_HEADER, ge=0)],
) -> RemoteWorker:
    if protocol != wire.PROTOCOL:
        raise ProtocolError(
            "This server is Pick-a-Pic {version} and speaks protocol {ours}; the worker speaks {theirs}. "
            "Install the same version on both.",
            version=__version__,
            ours=wire.PROTOCOL,
            theirs=protocol,
        )
    return RemoteWorker(workers.remote_name(machine.uid, own_name), machine, _shown(credentials) or "")


def _shown(credentials: HTTPAuthorizationCredentials | None) -> str | None:
    return credentials.credentials if credentials else None


WorkerHere = Annotated[RemoteWorker, Depends(_worker)]
"""A worker with a token; anybody else: 401."""
