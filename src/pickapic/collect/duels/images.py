"""Finished images: their rows, and what is known of one by the token in its address."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, or_, select, update

from pickapic.collect.states import ASIDE, FLAGGED, GENERATED, READY, WITHHELD
from pickapic.collect.tables import duels, images, jobs, rounds
from pickapic.collect.uids import new_uid
from pickapic.records import ImageFacts

ADDRESS = "/api/v1/images/"


@dataclass(frozen=True, slots=True)
class Finished:
    """An image that is in the store, as its worker reports it; with a `flag` it is never shown."""

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
    origin: str = GENERATED
    role: str | None = None
    source_image_id: int | None = None
    phash: int | None = None
    unfit: float | None = None
    flag: str | None = None
    sets_size: bool = False
    """Whether the size of the duel's images was not known when this one was made."""
    sent: str | None = None
    """What the provider was asked, as JSON without secrets."""
    revised_prompt: str | None = None
    source_sha256: str | None = None
    """Of the bytes that the provider answered with, as 64 hex digits."""
    seconds: float | None = None
    """From asking for it to having it."""


@dataclass(frozen=True, slots=True)
class Location:
    """Where an image's file is, and who may fetch it."""

    sha256: str
    user_id: int


_fix_size = (
    update(duels)
    .where(duels.c.id == bindparam("key"), duels.c.image_width.is_(None))
    .values(image_width=bindparam("width"), image_height=bindparam("height"))
)
_sizes = select(duels.c.id, duels.c.image_width, duels.c.image_height).where(
    duels.c.id.in_(bindparam("ids", expanding=True))
)


def misfits(connection: Connection, finished: Sequence[Finished]) -> set[int]:
    """Let the first image of each duel set the size of all, and return the jobs whose images have another.

    That happens only where two workers made the first images of a duel at once, with models of two sizes.
    """
    first: dict[int, Finished] = {}
    for image in finished:
        if image.sets_size:
            first.setdefault(image.duel_id, image)
    if not first:
        return set()
    for duel_id, image in sorted(first.items()):
        connection.execute(_fix_size, {"key": duel_id, "width": image.width, "height": image.height})
    size_of = {
        row.id: (row.image_width, row.image_height)
        for row in connection.execute(_sizes, {"ids": list(first)})
    }
    return {
        image.job_id
        for image in finished
        if image.duel_id in size_of and size_of[image.duel_id] != (image.width, image.height)
    }


_alike = select(images.c.duel_id, images.c.sha256, images.c.source_sha256).where(
    images.c.duel_id.in_(bindparam("ids", expanding=True)),
    images.c.origin == GENERATED,
    or_(
        images.c.sha256.in_(bindparam("files", expanding=True)),
        images.c.source_sha256.in_(bindparam("sources", expanding=True)),
    ),
)


def twins(connection: Connection, finished: Sequence[Finished]) -> set[int]:
    """Return the jobs whose image is the same file, or made from the same, as another of its duel: no pair for a round.

    Of two in `finished` the first is none.
    """
    drawn = [image for image in finished if image.origin == GENERATED and not image.flag]
    if not drawn:
        return set()
    sources = sorted({image.source_sha256 for image in drawn if image.source_sha256})
    values = {
        "ids": sorted({image.duel_id for image in drawn}),
        "files": [image.sha256 for image in drawn],
        "sources": sources,
    }
    rows = connection.execute(_alike, values)
    known = {(row.duel_id, key) for row in rows for key in (row.sha256, row.source_sha256) if key}
    found: set[int] = set()
    for image in drawn:
        keys = {(image.duel_id, key) for key in (image.sha256, image.source_sha256) if key}
        if keys & known:
            found.add(image.job_id)
        known |= keys
    return found


_insert = insert(images)


def record(connection: Connection, finished: Sequence[Finished], now: datetime) -> None:
    """Write the rows of finished images; from now on a round may show those that are not flagged."""
    if not finished:
        return
    connection.execute(_insert, [_row(image, now) for image in finished])


def _row(image: Finished, now: datetime) -> dict[str, Any]:
    state = READY if image.origin == GENERATED else ASIDE
    return {
        "uid": str(uuid.uuid4()),
        "token": new_uid(),
        "duel_id": image.duel_id,
        "job_id": image.job_id,
        "state": FLAGGED if image.flag else state,
        "origin": image.origin,
        "role": image.role,
        "source_image_id": image.source_image_id,
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
        "phash": image.phash,
        "unfit": image.unfit,
        "flag": image.flag,
        "sent": image.sent,
        "revised_prompt": image.revised_prompt,
        "source_sha256": image.source_sha256,
        "seconds": image.seconds,
    }


_location = (
    select(images.c.sha256, duels.c.user_id)
    .join(duels, duels.c.id == images.c.duel_id)
    .where(images.c.token == bindparam("token"), images.c.state.not_in(WITHHELD))
)


def locate(connection: Connection, token: str) -> Location | None:
    """Return where the image of a token is; None if there is none, or if it was taken away."""
    row = connection.execute(_location, {"token": token}).first()
    return Location(row.sha256, row.user_id) if row else None


_mark_fetched = (
    update(images)
    .where(
        images.c.id.in_(
            # A round that is just being made may hold one of them; waiting for it could end in a deadlock.
            select(images.c.id)
            .where(images.c.token.in_(bindparam("tokens", expanding=True)), images.c.fetched_at.is_(None))
            .with_for_update(skip_locked=True, key_share=True)
            .scalar_subquery()
        )
    )
    .values(fetched_at=bindparam("now"))
    .returning(images.c.token)
)


def mark_fetched(connection: Connection, tokens: Collection[str], now: datetime) -> set[str]:
    """Store that images were sent to their user; return those of which that is news."""
    return set(connection.execute(_mark_fetched, {"tokens": list(tokens), "now": now}).scalars())


_unfetched = (
    select(images.c.id)
    .join(rounds, or_(rounds.c.left_image_id == images.c.id, rounds.c.right_image_id == images.c.id))
    .where(
        rounds.c.uid == bindparam("round_uid"),
        rounds.c.user_id == bindparam("user_id"),
        images.c.fetched_at.is_(None),
    )
    .limit(1)
)


def all_fetched(connection: Connection, user_id: int, round_uid: str) -> bool:
    """Return whether the rows of both images of a user's round say that they were sent."""
    return connection.execute(_unfetched, {"round_uid": round_uid, "user_id": user_id}).first() is None


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
    images.c.role,
)
_facts = _how_made.where(images.c.token.in_(bindparam("tokens", expanding=True)))
_facts_by_uid = _how_made.where(images.c.uid.in_(bindparam("uids", expanding=True)))


@dataclass(frozen=True, slots=True)
class Making:
    """All that is known of how an image came about; `sent` is JSON, `seconds` how long its generator took.

    None where the generator has no such thing, or where the image is from before it was kept.
    """

    token: str
    state: str
    origin: str
    model: str
    prompt: str
    revised_prompt: str | None
    negative_prompt: str
    seed: int
    guidance_scale: float | None
    steps: int | None
    scheduler: str | None
    width: int
    height: int
    seconds: float | None
    sha256: str
    source_sha256: str | None
    sent: str | None
    worker: str | None
    created_at: datetime
    flag: str | None


_making = (
    select(*(jobs.c.worker if name == "worker" else images.c[name] for name in Making.__slots__))
    .join(jobs, jobs.c.id == images.c.job_id)
    .where(images.c.token == bindparam("token"))
)


def making(connection: Connection, token: str) -> Making | None:
    """Return how the image of a token was made, for staff; None if there is none."""
    row = connection.execute(_making, {"token": token}).first()
    return Making(*row) if row else None


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
        spoiled=row.role == "worse",
    )


def url_of(token: str) -> str:
    """Return the address of an image on this server, without the host."""
    return ADDRESS + token


def token_of(url: str) -> str:
    """Return the token in an image's address (with or without the host), or an empty string."""
    path = url.partition("?")[0].partition("#")[0]
    return path.partition(ADDRESS)[2]
