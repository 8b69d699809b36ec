"""Gold pairs: two images for the same words of which everybody who looks finds one better."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, File, Form, Request, Response, UploadFile
from sqlalchemy import Connection

from pickapic.collect import decisions
from pickapic.collect.duels import gold
from pickapic.collect.duels.gold_images import normal
from pickapic.collect.refusals import NotFoundError
from pickapic.storage import blobs
from pickapic.web.routes.admin.access import Chief, FormRoute, back, page
from pickapic.web.service import ServiceHere, now

router = APIRouter(prefix="/admin/gold", route_class=FormRoute)


@router.get("")
async def gold_page(request: Request, service: ServiceHere, person: Chief) -> Response:
    """Show the pairs of the list, and how people answer them."""
    pairs = await service.database.read(gold.pairs)
    context = {"pairs": pairs, "share": service.settings.gold_share}
    return await page(request, service, person, "gold", context)


@router.post("")
async def add_pair(
    service: ServiceHere,
    person: Chief,
    caption: Annotated[str, Form(max_length=gold.CAPTION_LENGTH * 4)],
    first: Annotated[UploadFile, File()],
    second: Annotated[UploadFile, File()],
    better: Annotated[Literal["first", "second"], Form()],
) -> Response:
    """Add two images, the words they were made for, and which is better."""
    keys: list[str] = []
    for upload in (first, second):
        data = await asyncio.to_thread(normal, await upload.read(), service.settings.scorer_max_pixels)
        keys.append(await blobs.put(service.store, data))
    good, bad = keys if better == "first" else reversed(keys)
    await service.database.write(_add, caption, good, bad, person.user_id)
    return back("/admin/gold", "gold-add")


@router.post("/{uid}/retire")
async def retire(service: ServiceHere, person: Chief, uid: str) -> Response:
    """Show a pair to nobody any more; what was answered stays."""
    await service.database.write(_retire, uid, person.user_id)
    return back("/admin/gold", "gold-retire")


@router.get("/{uid}/{role}")
async def picture(
    service: ServiceHere, person: Chief, uid: str, role: Literal["better", "worse"]
) -> Response:
    """Return an image of a pair."""
    pair = next((pair for pair in await service.database.read(gold.pairs) if pair.uid == uid), None)
    try:
        data = (
            await blobs.get(service.store, pair.better_sha256 if role == "better" else pair.worse_sha256)
            if pair
            else b""
        )
    except KeyError:
        data = b""
    if not data:
        raise NotFoundError("There is no such pair.")
    headers = {"Cache-Control": "private, max-age=31536000, immutable"}
    kind = "image/png" if data.startswith(b"\x89PNG") else "image/jpeg"
    return Response(data, headers=headers, media_type=kind)


def _add(connection: Connection, caption: str, better: str, worse: str, actor_id: int) -> None:
    moment = now()
    uid = gold.add_pair(connection, caption, better, worse, actor_id, moment)
    decisions.record(connection, actor_id, "add gold pair", "gold pair", uid, caption, moment)


def _retire(connection: Connection, uid: str, actor_id: int) -> None:
    gold.retire(connection, uid)
    decisions.record(connection, actor_id, "retire gold pair", "gold pair", uid, "", now())
