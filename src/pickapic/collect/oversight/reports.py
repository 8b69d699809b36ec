"""Images that somebody found unfit: reported, looked at by a moderator, removed or left.

A report hides the image from the next rounds of the person it was made for at once, whatever becomes of it.
A removed image is gone for everybody: from rounds, shared pages and exports. An image and its spoiled copies
(see gold.py) show the same, so what happens to one happens to all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Any, Literal, TypeAlias

from sqlalchemy import Connection, Row, and_, bindparam, func, insert, or_, select, update

from pickapic.collect import decisions
from pickapic.collect.duels import removals
from pickapic.collect.oversight import blocked
from pickapic.collect.people import bans
from pickapic.collect.refusals import NotFoundError
from pickapic.collect.states import OPEN, REMOVED
from pickapic.collect.tables import duels, images, reports, shares
from pickapic.collect.uids import new_uid
from pickapic.records import InputError
from pickapic.settings import GeneratorChoice

Record: TypeAlias = "Row[*tuple[Any, ...]]"
Reason = Literal["nudity", "violence", "hateful", "person", "other"]
REASONS: tuple[Reason, ...] = ("nudity", "violence", "hateful", "person", "other")
NOTE_LENGTH = 500

UPHELD = "upheld"
DISMISSED = "dismissed"
REPORTED = "reported"


@dataclass(frozen=True, slots=True)
class ReportedImage:
    """An image that waits for a decision: how often each reason was given, and what was written."""

    token: str
    prompt: str
    model: str
    state: str
    user_id: int
    shared: bool
    count: int
    reasons: tuple[tuple[str, int], ...]
    notes: tuple[str, ...]
    reporters: tuple[int, ...]
    first_at: datetime


@dataclass(frozen=True, slots=True)
class Decided:
    """An image that was decided about, and the user it was made for."""

    token: str
    user_id: int


# The duel's row, as those who pick lock it: an image is not taken away while a round with it is being made.
_image = (
    select(
        images.c.id,
        images.c.phash,
        images.c.duel_id,
        duels.c.user_id,
    )
    .join(duels, duels.c.id == images.c.duel_id)
    .with_for_update(of=duels)
)
_reportable = _image.outerjoin(shares, shares.c.image_id == images.c.id).where(
    images.c.state != REMOVED,
    or_(
        shares.c.token == bindparam("token"),
        and_(
            images.c.token == bindparam("token"),
            or_(duels.c.user_id == bindparam("user_key"), shares.c.id.is_not(None)),
        ),
    ),
)
_by_token = _image.where(images.c.token == bindparam("token"))


def report(
    connection: Connection,
    user_id: int,
    token: str,
    reason: Reason,
    note: str,
    choices: Sequence[GeneratorChoice],
    now: datetime,
    rng: Random,
) -> None:
    """Report an image: one of the person's own rounds by the token in its address, or one that somebody shares.

    The same person's second report of an image changes nothing. `choices` are the generators of the settings, which
    make the images that take its place.

    Raises:
        NotFoundError: no such image, or it was made for somebody else and is not shared.
        InputError: the note is too long.
    """
    if len(note) > NOTE_LENGTH:
        raise InputError(f"The note has {len(note)} characters; at most {NOTE_LENGTH} are possible.")
    image = connection.execute(_reportable, {"token": token, "user_key": user_id}).first()
    if image is None:
        raise NotFoundError("You have no such image.")
    mine = select(reports.c.id).where(reports.c.image_id == image.id, reports.c.user_id == user_id)
    if connection.execute(mine).first() is not None:
        return
    connection.execute(
        insert(reports).values(
            uid=new_uid(),
            image_id=image.id,
            user_id=user_id,
            reason=reason,
            note=note.strip(),
            state=OPEN,
            created_at=now,
        )
    )
    if image.user_id == user_id:
        removals.hide(connection, image.id, REPORTED)
        removals.make_up(connection, image.duel_id, choices, now, rng)


def waiting(connection: Connection, limit: int = 50) -> list[ReportedImage]:
    """Return the images with open reports: the most reported first, then the longest waiting."""
    rows = connection.execute(
        select(
            images.c.id,
            images.c.token,
            images.c.prompt,
            images.c.model,
            images.c.state,
            duels.c.user_id,
            shares.c.id.label("share"),
            func.count().label("total"),
            func.min(reports.c.created_at).label("first_at"),
        )
        .join(images, images.c.id == reports.c.image_id)
        .join(duels, duels.c.id == images.c.duel_id)
        .outerjoin(shares, shares.c.image_id == images.c.id)
        .where(reports.c.state == OPEN)
        .group_by(images.c.id, duels.c.user_id, shares.c.id)
        .order_by(func.count().desc(), func.min(reports.c.id))
        .limit(limit)
    ).all()
    given: dict[int, list[Record]] = {}
    for row in connection.execute(
        select(reports)
        .where(reports.c.state == OPEN, reports.c.image_id.in_([row.id for row in rows]))
        .order_by(reports.c.id)
    ):
        given.setdefault(row.image_id, []).append(row)
    return [
        ReportedImage(
            token=row.token,
            prompt=row.prompt,
            model=row.model,
            state=row.state,
            user_id=row.user_id,
            shared=row.share is not None,
            count=row.total,
            reasons=tuple(Counter(one.reason for one in given[row.id]).most_common()),
            notes=tuple(one.note for one in given[row.id] if one.note),
            reporters=tuple(one.user_id for one in given[row.id]),
            first_at=row.first_at,
        )
        for row in rows
    ]


def count_waiting(connection: Connection) -> int:
    """Return how many images wait for a decision."""
    return connection.execute(
        select(func.count(reports.c.image_id.distinct())).where(reports.c.state == OPEN)
    ).scalar_one()


def uphold(
    connection: Connection,
    actor_id: int | None,
    token: str,
    reason: str,
    choices: Sequence[GeneratorChoice],
    now: datetime,
    rng: Random,
    *,
    block: bool = False,
    ban: bool = False,
) -> Decided:
    """Remove an image for good, reported or not: from rounds, shared pages and exports.

    A round that shows it is withdrawn. Doing so again changes nothing but the log. `choices` see `report`; `block`
    takes away its like too, and what will be made like it; `ban` bans the user it was made for.

    Raises:
        NotFoundError: no such image.
        InputError: to be blocked, but too old to have a perceptual hash.
        ForbiddenError: to be banned, but the actor does not stand above the user.
    """
    image = _found(connection, token)
    for image_id in removals.remove(connection, image.id, REPORTED):
        _close(connection, image_id, UPHELD, actor_id, now)
    removals.make_up(connection, image.duel_id, choices, now, rng)
    decisions.record(connection, actor_id, "remove image", "image", token, reason, now)
    if block:
        if image.phash is None:
            raise InputError(
                "This image is too old to have a perceptual hash, so its like cannot be blocked."
            )
        blocked.block_image(connection, image.phash, reason, actor_id, now, choices, rng)
    if ban:
        bans.ban(connection, actor_id, image.user_id, f"image {token}: {reason}", now)
    return Decided(token, image.user_id)


def dismiss(connection: Connection, actor_id: int | None, token: str, reason: str, now: datetime) -> Decided:
    """Leave an image as it was before it was reported; its reporter's rounds go on without it.

    Raises:
        NotFoundError: no such image.
    """
    image = _found(connection, token)
    _close(connection, image.id, DISMISSED, actor_id, now)
    removals.show_again(connection, image.id, REPORTED)
    decisions.record(connection, actor_id, "dismiss reports", "image", token, reason, now)
    return Decided(token, image.user_id)


def file_of(connection: Connection, token: str) -> str:
    """Return the store's key of any image, removed ones too: for those who decide.

    Raises:
        NotFoundError: no such image.
    """
    key = connection.execute(select(images.c.sha256).where(images.c.token == token)).scalar()
    if key is None:
        raise NotFoundError("There is no such image.")
    return key


def _found(connection: Connection, token: str) -> Record:
    image = connection.execute(_by_token, {"token": token}).first()
    if image is None:
        raise NotFoundError("There is no such image.")
    return image


def _close(connection: Connection, image_id: int, state: str, actor_id: int | None, now: datetime) -> None:
    connection.execute(
        update(reports)
        .where(reports.c.image_id == image_id, reports.c.state == OPEN)
        .values(state=state, decided_by=actor_id, decided_at=now)
    )
