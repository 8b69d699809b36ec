"""A person's own images, as far as they were shown, and what may be done with them.

Models are named once a duel is over. Images made for check rounds are listed while their duel is open, so that nothing
tells them apart from others, and are gone afterwards.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, case, delete, func, insert, or_, select, update

from pickapic.collect.refusals import NotFoundError, translatable
from pickapic.collect.states import ANSWERED, GENERATED, GOLD, OPEN, SHOWN
from pickapic.collect.tables import downloads, duels, images, rounds, shares

NOT_THERE = translatable("You have no such image.")


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of an image in its rounds."""

    won: int = 0
    lost: int = 0
    tied: int = 0


@dataclass(frozen=True, slots=True)
class OwnImage:
    """An image that was shown to its user; `model` is None while its duel is open, `share` while it is private."""

    token: str
    prompt: str
    duel_uid: str
    is_open: bool
    created_at: datetime
    width: int
    height: int
    fate: Fate
    model: str | None
    share: str | None


@dataclass(frozen=True, slots=True)
class Page:
    """Some of a gallery, newest first; `before` asks for those that follow, None if there are none."""

    images: tuple[OwnImage, ...]
    before: str | None


@dataclass(frozen=True, slots=True)
class Kept:
    """An image that its user takes home."""

    sha256: str
    prompt: str


@dataclass(frozen=True, slots=True)
class WrittenPrompt:
    """A prompt, the latest duel it began, and all answers given to it."""

    prompt: str
    duel_uid: str
    created_at: datetime
    picks: int


# The words that an image was made for: an image of an admin's list has its own.
_prompt = case((images.c.origin == GOLD, images.c.prompt), else_=duels.c.typed).label("words")
_mine = and_(
    duels.c.user_id == bindparam("user_key"),
    images.c.state == SHOWN,
    images.c.hidden_at.is_(None),
    or_(images.c.origin == GENERATED, duels.c.state == OPEN),
)
_gallery = (
    select(
        images.c.id,
        images.c.token,
        images.c.duel_id,
        images.c.created_at,
        images.c.width,
        images.c.height,
        images.c.model,
        duels.c.uid.label("duel_uid"),
        duels.c.state.label("duel_state"),
        shares.c.token.label("share"),
        _prompt,
    )
    .join(duels, duels.c.id == images.c.duel_id)
    .outerjoin(shares, shares.c.image_id == images.c.id)
    .where(_mine)
    .order_by(images.c.id.desc())
)
_place = (
    select(images.c.id)
    .join(duels, duels.c.id == images.c.duel_id)
    .where(images.c.token == bindparam("token"), duels.c.user_id == bindparam("user_key"))
)
_one = (
    select(images.c.id, images.c.sha256, _prompt)
    .join(duels, duels.c.id == images.c.duel_id)
    .where(_mine, images.c.token == bindparam("token"))
)
_answered = select(rounds.c.left_image_id, rounds.c.right_image_id, rounds.c.pick).where(
    rounds.c.duel_id.in_(bindparam("duel_keys", expanding=True)), rounds.c.state == ANSWERED
)


def page(connection: Connection, user_id: int, before: str | None, limit: int) -> Page:
    """Return up to `limit` images of a user, the newest first, after the one whose token is `before`.

    Raises:
        NotFoundError: `before` is no image of this user.
    """
    wanted = _gallery
    if before is not None:
        key = connection.execute(_place, {"token": before, "user_key": user_id}).scalar()
        if key is None:
            raise NotFoundError(NOT_THERE)
        wanted = wanted.where(images.c.id < key)
    rows = connection.execute(wanted.limit(limit + 1), {"user_key": user_id}).all()
    shown = rows[:limit]
    fates = _fates(connection, {row.duel_id for row in shown})
    return Page(
        tuple(_own(row, fates.get(row.id, Fate())) for row in shown),
        shown[-1].token if len(rows) > limit else None,
    )


def own(connection: Connection, user_id: int, token: str) -> int:
    """Return the key of an image in a user's gallery.

    Raises:
        NotFoundError: the user has no such image, or took it away.
    """
    return _found(connection, user_id, token).id


def hide(connection: Connection, user_id: int, token: str, now: datetime) -> None:
    """Take an image out of its user's gallery, and its shared page away; rounds that showed it stay as they are.

    Raises:
        NotFoundError: as `own`.
    """
    key = own(connection, user_id, token)
    connection.execute(delete(shares).where(shares.c.image_id == key))
    connection.execute(update(images).where(images.c.id == key).values(hidden_at=now))


def download(connection: Connection, user_id: int, token: str, now: datetime) -> Kept:
    """Note that a user keeps an image, and return where its file is.

    Raises:
        NotFoundError: as `own`.
    """
    row = _found(connection, user_id, token)
    connection.execute(insert(downloads).values(image_id=row.id, user_id=user_id, at=now))
    return Kept(row.sha256, row.words)


def prompts(connection: Connection, user_id: int, limit: int) -> list[WrittenPrompt]:
    """Return what a user wrote, each prompt once, the latest first."""
    picks = (
        select(func.count())
        .select_from(rounds)
        .where(rounds.c.duel_id == duels.c.id, rounds.c.state == ANSWERED)
        .scalar_subquery()
    )
    each = (
        select(duels.c.id, duels.c.typed, picks.label("picks")).where(duels.c.user_id == user_id).subquery()
    )
    latest = (
        select(func.max(each.c.id).label("id"), func.sum(each.c.picks).label("picks"))
        .group_by(each.c.typed)
        .order_by(func.max(each.c.id).desc())
        .limit(limit)
        .subquery()
    )
    rows = connection.execute(
        select(duels.c.typed, duels.c.uid, duels.c.created_at, latest.c.picks)
        .join(latest, latest.c.id == duels.c.id)
        .order_by(duels.c.id.desc())
    )
    return [WrittenPrompt(row.typed, row.uid, row.created_at, int(row.picks)) for row in rows]


def _found(connection: Connection, user_id: int, token: str) -> Row[*tuple[Any, ...]]:
    row = connection.execute(_one, {"user_key": user_id, "token": token}).first()
    if row is None:
        raise NotFoundError(NOT_THERE)
    return row


def _own(row: Row[*tuple[Any, ...]], fate: Fate) -> OwnImage:
    is_open = row.duel_state == OPEN
    return OwnImage(
        token=row.token,
        prompt=row.words,
        duel_uid=row.duel_uid,
        is_open=is_open,
        created_at=row.created_at,
        width=row.width,
        height=row.height,
        fate=fate,
        model=None if is_open else row.model,
        share=row.share,
    )


def _fates(connection: Connection, duel_keys: Collection[int]) -> dict[int, Fate]:
    counts: defaultdict[int, list[int]] = defaultdict(lambda: [0, 0, 0])
    for row in connection.execute(_answered, {"duel_keys": list(duel_keys)}):
        left, right = row.left_image_id, row.right_image_id
        if row.pick == "tie":
            counts[left][2] += 1
            counts[right][2] += 1
        else:
            winner, loser = (left, right) if row.pick == "left" else (right, left)
            counts[winner][0] += 1
            counts[loser][1] += 1
    return {key: Fate(*count) for key, count in counts.items()}
