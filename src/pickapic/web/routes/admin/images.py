"""How an image was made: what its generator was asked, what it really did, and how long it took."""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter, Request, Response

from pickapic.collect.duels import images
from pickapic.collect.refusals import NotFoundError
from pickapic.web.routes.admin.access import FormRoute, Staff, page
from pickapic.web.service import ServiceHere

router = APIRouter(prefix="/admin/images", route_class=FormRoute)


@router.get("/{token}/made")
async def made_page(request: Request, service: ServiceHere, person: Staff, token: str) -> Response:
    """Show how an image was made."""
    making = await service.database.read(images.making, token)
    if making is None:
        raise NotFoundError("There is no such image.")
    context = {"made": making, "sent": _spread(making.sent)}
    return await page(request, service, person, "image", context)


def _spread(sent: str | None) -> str | None:
    """Return JSON on lines; as it is where it was cut off for its length."""
    try:
        content: Any = json.loads(sent) if sent else None
    except ValueError:
        return sent
    return json.dumps(content, indent=2, ensure_ascii=False) if content else None
