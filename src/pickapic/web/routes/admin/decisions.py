"""The log: who decided what, when and why."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from pickapic.collect import decisions
from pickapic.web.routes.admin.access import Chief, page
from pickapic.web.service import ServiceHere

router = APIRouter(prefix="/admin/decisions")

PAGE_DECISIONS = 100
LARGEST_KEY = 2**53


@router.get("")
async def decisions_page(
    request: Request,
    service: ServiceHere,
    person: Chief,
    before: Annotated[int | None, Query(ge=1, le=LARGEST_KEY)] = None,
) -> Response:
    """Show the decisions, the latest first; `before` is the one to go on from."""
    found = await service.database.read(decisions.recent, PAGE_DECISIONS, before)
    context = {"decisions": found, "more": len(found) == PAGE_DECISIONS}
    return await page(request, service, person, "decisions", context)
