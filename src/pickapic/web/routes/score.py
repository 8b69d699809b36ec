"""Scores of images for a prompt, if a scorer is configured: for people who are signed in and machines with a token."""

from __future__ import annotations

import asyncio
import re
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from pickapic.collect.boards import shares
from pickapic.collect.duels.images import ADDRESS, locate
from pickapic.collect.people import tokens
from pickapic.collect.prompts import checked_text
from pickapic.collect.refusals import NotFoundError
from pickapic.records import InputError
from pickapic.storage import blobs
from pickapic.web import uploads
from pickapic.web.machines import Credentials, machine_behind
from pickapic.web.routes.answers import json_of
from pickapic.web.scoring import ScorerUnavailableError
from pickapic.web.service import Service, ServiceHere, person_behind

router = APIRouter(tags=["scores"])

SHARED = re.compile(r"/i/([A-Za-z0-9_-]{1,64})\.jpg")


class Wanted(BaseModel):
    """A prompt and images: addresses of this server, or files in base64."""

    model_config = ConfigDict(extra="forbid", strict=True)

    prompt: str
    images: Annotated[list[str], Field(min_length=1)]


class Scores(BaseModel):
    """One score an image, in order; only scores of one scorer may be compared."""

    scorer: str
    scores: list[float]


async def _caller(request: Request, service: ServiceHere, credentials: Credentials) -> int | None:
    if credentials is None:
        return (await person_behind(request)).user_id
    await machine_behind(request, service, credentials.credentials, tokens.SCORE)
    return None


Caller = Annotated[int | None, Depends(_caller)]
"""The user who is signed in; None: a machine with a token of kind `score`, which has no images of its own here."""


@router.post("/score", response_model=Scores)
async def score(request: Request, body: Wanted, service: ServiceHere, user_id: Caller) -> Response:
    """Score images for a prompt, for somebody who is signed in or a machine with a token of kind `score`."""
    settings = service.settings
    if not service.scoring.configured:
        raise HTTPException(503, "No scorer is configured: set PICKAPIC_SCORER, for example to pickscore.")
    prompt = checked_text(body.prompt, settings.prompt_max_length)
    if len(body.images) > settings.scorer_max_images:
        raise HTTPException(
            413,
            f"The request has {len(body.images)} images; at most {settings.scorer_max_images} are possible.",
        )
    service.scoring.refuse_if_full(len(body.images))
    host = request.headers.get("host", "")
    images = [
        await _bytes_of(service, user_id, image, host, f"images[{index}]")
        for index, image in enumerate(body.images)
    ]
    await asyncio.to_thread(uploads.check, images, settings.scorer_max_pixels)
    try:
        scored = await service.scoring.score(prompt, images)
    except ScorerUnavailableError as error:
        raise HTTPException(503, str(error)) from error
    return json_of(Scores(scorer=scored.scorer, scores=scored.scores))


async def _bytes_of(service: Service, user_id: int | None, image: str, host: str, name: str) -> bytes:
    """Return an image's bytes; nothing is ever fetched from elsewhere."""
    path = image
    if image.startswith(("http://", "https://")):
        parts = urlsplit(image)
        if parts.netloc != host:
            raise InputError(
                f"{name} is an address outside this server, and none is fetched: send the file in base64."
            )
        path = parts.path
    sha256 = await _named(service, user_id, path, name)
    if sha256 is None:
        return await asyncio.to_thread(uploads.decoded, image, name)
    try:
        return await blobs.get(service.store, sha256)
    except KeyError as error:
        raise InputError(f"{name} is not stored on this server any more.") from error


async def _named(service: Service, user_id: int | None, path: str, name: str) -> str | None:
    """Return the key of the image that a path names: a public one, or one of the user's own; None: it names none."""
    shared = SHARED.fullmatch(path)
    if shared:
        try:
            return (await service.database.read(shares.find, shared[1])).sha256
        except NotFoundError as error:
            raise InputError(f"{name} is no public image on this server.") from error
    if not path.startswith(ADDRESS):
        return None
    location = await service.database.read(locate, path.removeprefix(ADDRESS))
    if location is None or user_id is None or location.user_id != user_id:
        raise InputError(f"{name} is no image of yours on this server.")
    return location.sha256
