"""The public page of an image that its user shares, and reporting it there."""

from __future__ import annotations

from typing import Annotated, get_args

from fastapi import APIRouter, Form, Request, Response
from starlette.responses import RedirectResponse

from pickapic.collect.boards import shares
from pickapic.collect.oversight import reports
from pickapic.web.routes.gallery import picture, shared_path
from pickapic.web.routes.pages import show
from pickapic.web.service import Person, ServiceHere, now

router = APIRouter(prefix="/i", include_in_schema=False)

# Nobody finds a shared page but by its link. What is made private is gone from caches within minutes.
ROBOTS = {"X-Robots-Tag": "noindex"}
PICTURE = ROBOTS | {"Cache-Control": "public, max-age=300"}


@router.get("/{token}.jpg")
async def shared_picture(token: str, service: ServiceHere) -> Response:
    """Return a public image as JPEG, without metadata."""
    found = await service.database.read(shares.find, token)
    return Response(await picture(service, found.sha256), headers=PICTURE, media_type="image/jpeg")


@router.get("/{token}")
async def shared_page(request: Request, service: ServiceHere, token: str, reported: bool = False) -> Response:
    """Show a public image with its prompt, and the model if its duel is over."""
    found = await service.database.read(shares.find, token)
    base = service.settings.public_url.rstrip("/") or str(request.base_url).rstrip("/")
    context = {
        "image": found,
        "address": base + shared_path(token),
        "reasons": get_args(reports.Reason),
        "note_length": reports.NOTE_LENGTH,
        "reported": reported,
    }
    response = await show(request, service, "share.html", context)
    response.headers.update(ROBOTS)
    return response


@router.post("/{token}/report")
async def report_shared(
    service: ServiceHere,
    person: Person,
    token: str,
    reason: Annotated[reports.Reason, Form()],
    note: Annotated[str, Form(max_length=2 * reports.NOTE_LENGTH)] = "",
) -> Response:
    """Report a public image, by a plain form."""
    await service.database.write(
        reports.report,
        person.user_id,
        token,
        reason,
        note[: reports.NOTE_LENGTH],
        service.settings.generators,
        now(),
        service.rng,
    )
    return RedirectResponse(f"{shared_path(token)}?reported=1", 303)
