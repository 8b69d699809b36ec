"""Finished images: their rows, and what is known of one by the token in its address."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select

from pickapic.collect.tables import duels, images
from pickapic.records import ImageFacts

ADDRESS = "/api/v1/images/"


@dataclass(frozen=True, slots=True)
class Finished:
    """An image that is in the store, as its worker reports it."""

    job_id: int
    duel_id: int
    sha256: str
    width: int
    height: int
    model: str
    prompt: str
    negative_prompt: str
    seed: int
    guidance_scale: float | None
    steps: int | None
    scheduler: str | None


@dataclass(frozen=True, slots=True)
class Location:
    """Where an image's file is, and who may fetch it."""

    sha256: str
    user_id: int


_insert = insert(images)


def record(connection: Connection, finished: Sequence[Finished], now: datetime) -> None:
    """Write the rows of finished images; from now on a round may show them."""
    if not finished:
        return
    connection.execute(
        _insert,
        [
            {
                "uid": str(uuid.uuid4()),
                "token": secrets.token_urlsafe(16),
                "duel_id": image.duel_id,
                "job_id": image.job_id,
                "state": "ready",
                "sha256": image.sha256,
                "width": image.width,
                "height": image.height,
                "model": image.model,
                "prompt": image.prompt,
                "negative_prompt": image.negative_prompt,
                "seed": image.seed,
                "guidance_scale": image.guidance_scale,
                "steps": image.steps,
                "scheduler": image.scheduler,
                "created_at": now,
            }
            for image in finished
        ],
    )


_location = (
    select(images.c.sha256, duels.c.user_id)
    .join(duels, duels.c.id == images.c.duel_id)
    .where(images.c.token == bindparam("token"))
)


def locate(connection: Connection, token: str) -> Location | None:
    """Return where the image of a token is, or None."""
    row = connection.execute(_location, {"token": token}).first()
    return Location(row.sha256, row.user_id) if row else None


_how_made = select(
    images.c.token,
    images.c.uid,
    images.c.prompt,
    images.c.negative_prompt,
    images.c.model,
    images.c.seed,
    images.c.guidance_scale,
    images.c.steps,
    images.c.scheduler,
    images.c.width,
    images.c.height,
    images.c.created_at,
)
_facts = _how_made.where(images.c.token.in_(bindparam("tokens", expanding=True)))
_facts_by_uid = _how_made.where(images.c.uid.in_(bindparam("uids", expanding=True)))


def facts(connection: Connection, tokens: Sequence[str]) -> dict[str, ImageFacts]:
    """Return how each image was made, by the token in its address; unknown tokens are left out."""
    return {row.token: _read_facts(row) for row in connection.execute(_facts, {"tokens": list(tokens)})}


def facts_by_uid(connection: Connection, uids: Sequence[str]) -> dict[str, ImageFacts]:
    """Return how each image was made, by the uid that datasets name it by; unknown uids are left out."""
    return {row.uid: _read_facts(row) for row in connection.execute(_facts_by_uid, {"uids": list(uids)})}


def _read_facts(row: Row[*tuple[Any, ...]]) -> ImageFacts:
    return ImageFacts(
        uid=row.uid,
        prompt=row.prompt,
        negative_prompt=row.negative_prompt,
        model=row.model,
        seed=row.seed,
        guidance_scale=row.guidance_scale,
        steps=row.steps,
        scheduler=row.scheduler,
        width=row.width,
        height=row.height,
        created_at=row.created_at,
    )


def url_of(token: str) -> str:
    """Return the address of an image on this server, without the host."""
    return ADDRESS + token


def token_of(url: str) -> str:
    """Return the token in an image's address (with or without the host), or an empty string."""
    path = url.partition("?")[0].partition("#")[0]
    return path.partition(ADDRESS)[2]
