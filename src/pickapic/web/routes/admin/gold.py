"""Gold pairs: two images for the same words of which everybody who looks finds one better."""

from __future__ import annotations

import asyncio
import io
from typing import Annotated, Literal

from fastapi import APIRouter, File, Form, Request, Response, UploadFile
from PIL import Image, ImageOps
from sqlalchemy import Connection

from pickapic.collect import decisions, gold
from pickapic.collect.refusals import NotFoundError
from pickapic.records import InputError
from pickapic.storage import blobs
from pickapic.web import uploads
from pickapic.web.routes.admin.access import Chief, FormRoute, back, page
from pickapic.web.service import ServiceHere, now

router = APIRouter(prefix="/admin/gold", route_class=FormRoute)

LONGEST_SIDE = 2048
FORMATS = ("JPEG", "PNG", "WEBP")


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
    files = [await first.read(), await second.read()]
    uploads.check(files, service.settings.scorer_max_pixels)
    plain = await asyncio.to_thread(lambda: [normal(data) for data in files])
    keys = [await blobs.put(service.store, data) for data in plain]
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


def normal(data: bytes) -> bytes:
    """Return an image upright, in RGB, at most LONGEST_SIDE pixels a side, without metadata, as a PNG.

    Not as a JPEG: the worker that shows it in a duel stores it as it stores every image, and compressed twice
    it could be told apart.

    Raises:
        InputError: it cannot be decoded, or is of another kind than those in FORMATS.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, ValueError, SyntaxError) as error:
        raise InputError(f"An image cannot be read; {', '.join(FORMATS)} are possible.") from error
    upright.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    upright.info.clear()
    file = io.BytesIO()
    upright.save(file, "PNG", optimize=False)
    return file.getvalue()


def _add(connection: Connection, caption: str, better: str, worse: str, actor_id: int) -> None:
    moment = now()
    uid = gold.add_pair(connection, caption, better, worse, actor_id, moment)
    decisions.record(connection, actor_id, "add gold pair", "gold pair", uid, caption, moment)


def _retire(connection: Connection, uid: str, actor_id: int) -> None:
    gold.retire(connection, uid)
    decisions.record(connection, actor_id, "retire gold pair", "gold pair", uid, "", now())
