"""Reported pictures: each with its prompt and the reasons, to be removed or left. And any picture, for staff."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request, Response

from pickapic.collect import decisions
from pickapic.collect.oversight import reports
from pickapic.collect.refusals import NotFoundError
from pickapic.storage import blobs
from pickapic.web.routes.admin.access import FormRoute, Staff, back, page
from pickapic.web.service import ServiceHere, now

router = APIRouter(prefix="/admin", route_class=FormRoute)

Reason = Annotated[str, Form(max_length=decisions.REASON_LENGTH)]
Also = Annotated[bool, Form()]


@router.get("/reports")
async def reports_page(request: Request, service: ServiceHere, person: Staff) -> Response:
    """Show the reported pictures, the most reported first."""
    waiting = await service.database.read(reports.waiting)
    return await page(request, service, person, "reports", {"reported": waiting})


@router.get("/images/{token}")
async def picture(service: ServiceHere, person: Staff, token: str) -> Response:
    """Return any picture, removed ones too: whoever decides has to see it."""
    key = await service.database.read(reports.file_of, token)
    try:
        data = await blobs.get(service.store, key)
    except KeyError as error:
        raise NotFoundError("There is no such image.") from error
    return Response(data, headers={"Cache-Control": "private, no-store"}, media_type="image/jpeg")


@router.post("/images/{token}/uphold")
async def uphold(
    service: ServiceHere,
    person: Staff,
    token: str,
    reason: Reason = "",
    block: Also = False,
    ban: Also = False,
    after: Annotated[str, Form(max_length=10)] = "",
) -> Response:
    """Remove a picture; `block` its like from now on, and `ban` whom it was made for."""
    image = await service.database.write(
        reports.uphold,
        person.user_id,
        token,
        reason.strip() or "reported",
        service.settings.generators,
        now(),
        service.rng,
        block=block,
        ban=ban,
    )
    # Of the like of it too, if that was blocked.
    service.locations.clear()
    if ban:
        service.forget_user(image.user_id)
    return back(_after(after), "uphold")


@router.post("/images/{token}/dismiss")
async def dismiss(service: ServiceHere, person: Staff, token: str, reason: Reason = "") -> Response:
    """Leave a picture as it is."""
    await service.database.write(reports.dismiss, person.user_id, token, reason, now())
    return back("/admin/reports", "dismiss")


def _after(user: str) -> str:
    """Return where to go on: at the user whose page it was, or at the queue."""
    return f"/admin/users/{int(user)}" if user.isascii() and user.isdigit() else "/admin/reports"
