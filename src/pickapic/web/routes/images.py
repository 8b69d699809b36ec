"""Image files, by the opaque token in their address, for the person they were shown to."""

from __future__ import annotations

from fastapi import APIRouter, Response

from pickapic.collect.duels.images import locate
from pickapic.collect.refusals import NotFoundError
from pickapic.storage import blobs
from pickapic.web.service import ServiceHere, UserId

router = APIRouter(prefix="/images", tags=["images"])

HEADERS = {"Cache-Control": "private, max-age=31536000, immutable"}
NOT_THERE = "You have no such image."


@router.get("/{token}", response_class=Response, responses={200: {"content": {"image/jpeg": {}}}})
async def read_image(token: str, service: ServiceHere, user_id: UserId) -> Response:
    """Return the image as JPEG, without metadata; from now on a pick of it counts."""
    location = service.locations.get(token) or await service.database.read(locate, token)
    if location is None or location.user_id != user_id:
        raise NotFoundError(NOT_THERE)
    service.locations.put(token, location)
    try:
        data = await blobs.get(service.store, location.sha256)
    except KeyError as error:
        raise NotFoundError(NOT_THERE) from error
    service.deliveries.add(token)
    return Response(data, headers=HEADERS, media_type="image/jpeg")
