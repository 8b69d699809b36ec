"""Workers that were heard of, and the tokens by which machines are known."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request, Response

from pickapic.collect import decisions
from pickapic.collect.people import tokens
from pickapic.collect.people.sessions import SignedIn
from pickapic.collect.people.tokens import Created
from pickapic.collect.queue import workers
from pickapic.records import InputError
from pickapic.web.machines import Machines
from pickapic.web.routes.admin.access import Chief, FormRoute, back, page
from pickapic.web.service import Service, ServiceHere, now

router = APIRouter(prefix="/admin/workers", route_class=FormRoute)


@router.get("")
async def workers_page(request: Request, service: ServiceHere, person: Chief) -> Response:
    """Show the workers, and the tokens."""
    return await _page(request, service, person)


@router.post("/tokens")
async def create_token(
    request: Request,
    service: ServiceHere,
    person: Chief,
    label: Annotated[str, Form(max_length=200)],
    kind: Annotated[tokens.Kind, Form()],
    days: Annotated[str, Form(max_length=5)] = "",
) -> Response:
    """Make a token and show it: here and now, or never."""
    lasts = days.strip()
    if lasts and not (lasts.isascii() and lasts.isdigit()):
        raise InputError(f"{lasts!r} is no number of days.")
    made = await service.database.write(
        tokens.create, kind, label, int(lasts) if lasts else None, person.user_id, now()
    )
    return await _page(request, service, person, made)


@router.post("/tokens/{uid}/revoke")
async def revoke_token(
    request: Request,
    service: ServiceHere,
    person: Chief,
    uid: str,
    reason: Annotated[str, Form(max_length=decisions.REASON_LENGTH)] = "",
) -> Response:
    """Let a token open nothing any more."""
    await service.database.write(tokens.revoke, uid, person.user_id, reason, now())
    machines: Machines = request.app.state.machines
    machines.forget()
    return back("/admin/workers", "token-revoke")


async def _page(
    request: Request, service: Service, person: SignedIn, made: Created | None = None
) -> Response:
    context = {
        "workers": await service.database.read(workers.seen, now()),
        "tokens": await service.database.read(tokens.listed, now()),
        "kinds": tokens.KINDS,
        "label_length": tokens.LABEL_LENGTH,
        "made": made,
        "server": service.settings.public_url or str(request.base_url).rstrip("/"),
        "gone_minutes": round(workers.GONE_AFTER.total_seconds() / 60),
    }
    return await page(request, service, person, "workers", context)
