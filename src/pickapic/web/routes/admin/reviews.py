"""Prompts in the grey zone: approved or refused once, for everybody."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Form, Request, Response

from pickapic.collect import decisions
from pickapic.collect.moderation import reviews
from pickapic.web.routes.admin.access import FormRoute, Staff, back, page
from pickapic.web.service import ServiceHere, now

router = APIRouter(prefix="/admin/reviews", route_class=FormRoute)


@router.get("")
async def reviews_page(request: Request, service: ServiceHere, person: Staff) -> Response:
    """Show the prompts that wait, the oldest first."""
    waiting = await service.database.read(reviews.waiting)
    return await page(request, service, person, "reviews", {"prompts": waiting})


@router.post("/{uid}/{decision}")
async def decide(
    service: ServiceHere,
    person: Staff,
    uid: str,
    decision: Literal["approve", "refuse"],
    reason: Annotated[str, Form(max_length=decisions.REASON_LENGTH)] = "",
) -> Response:
    """Approve or refuse a prompt, for everybody who waits for it or asks for it later."""
    await service.database.write(reviews.decide, uid, decision == "approve", person.user_id, reason, now())
    return back("/admin/reviews", decision)
