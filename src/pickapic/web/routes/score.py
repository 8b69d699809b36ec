"""Scores of images for a prompt, when a scorer is configured."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from pickapic.collect.images import locate, token_of
from pickapic.records import InputError
from pickapic.storage import blobs
from pickapic.web.routes.answers import json_of
from pickapic.web.service import Service, ServiceHere, UserId

router = APIRouter(tags=["scores"])

MOST_IMAGES = 16


class Wanted(BaseModel):
    """A prompt and images: addresses of this server, or files in base64."""

    model_config = ConfigDict(extra="forbid", strict=True)

    prompt: str
    images: Annotated[list[str], Field(min_length=1, max_length=MOST_IMAGES)]


class Scores(BaseModel):
    """One score an image, in order; only scores of one scorer may be compared."""

    scorer: str
    scores: list[float]


@router.post("/score", response_model=Scores)
async def score(body: Wanted, service: ServiceHere, user_id: UserId) -> Response:
    """Score images for a prompt."""
    if not service.scoring.configured:
        raise HTTPException(503, "No scorer is configured: set PICKAPIC_SCORER, for example to pickscore.")
    images = [await _bytes_of(service, user_id, image) for image in body.images]
    name, scores = await service.scoring.score(body.prompt, images)
    return json_of(Scores(scorer=name, scores=scores))


async def _bytes_of(service: Service, user_id: int, image: str) -> bytes:
    token = token_of(image)
    if token:
        location = await service.database.read(locate, token)
        if location is None or location.user_id != user_id:
            raise InputError(f"{image} is no image of yours on this server.")
        return await blobs.get(service.store, location.sha256)
    try:
        return base64.b64decode(image.rpartition("base64,")[2], validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError("An image is neither an address of this server nor base64.") from error
