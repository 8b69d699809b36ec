"""Images that their user made public by a link, and what a stranger sees there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, insert, select

from pickapic.collect.boards import gallery
from pickapic.collect.quality.counting import BANNED
from pickapic.collect.refusals import NotFoundError
from pickapic.collect.states import OPEN, SHOWN
from pickapic.collect.tables import duels, images, shares, users
from pickapic.collect.uids import new_uid


@dataclass(frozen=True, slots=True)
class SharedImage:
    """A public image; `model` is None while its duel is open."""

    token: str
    sha256: str
    prompt: str
    width: int
    height: int
    model: str | None


_shared = (
    select(
        images.c.sha256,
        images.c.width,
        images.c.height,
        images.c.model,
        images.c.prompt,
        duels.c.state,
    )
    .select_from(shares)
    .join(images, images.c.id == shares.c.image_id)
    .join(duels, duels.c.id == images.c.duel_id)
    .join(users, users.c.id == shares.c.user_id)
    .where(
        shares.c.token == bindparam("share"),
        images.c.state == SHOWN,
        images.c.hidden_at.is_(None),
        users.c.deleted_at.is_(None),
        users.c.status != BANNED,
    )
)


def share(connection: Connection, user_id: int, token: str, now: datetime) -> str:
    """Make an image of a user's gallery public, and return the token of its page: the same as before, if it was.

    Raises:
        NotFoundError: the user has no such image.
    """
    key = gallery.own(connection, user_id, token)
    # Of two at once the second finds the first's.
    connection.execute(select(images.c.id).where(images.c.id == key).with_for_update())
    known = connection.execute(select(shares.c.token).where(shares.c.image_id == key)).scalar()
    if known is not None:
        return known
    made = new_uid()
    connection.execute(insert(shares).values(token=made, image_id=key, user_id=user_id, created_at=now))
    return made


def unshare(connection: Connection, user_id: int, token: str) -> None:
    """Make an image private again; nothing happens if it is.

    Raises:
        NotFoundError: the user has no such image.
    """
    key = gallery.own(connection, user_id, token)
    connection.execute(delete(shares).where(shares.c.image_id == key))


def find(connection: Connection, share_token: str) -> SharedImage:
    """Return a public image by the token of its page.

    Raises:
        NotFoundError: there is none; or it was made private, removed or reported, or its user is gone or banned.
    """
    row = connection.execute(_shared, {"share": share_token}).first()
    if row is None:
        raise NotFoundError("There is no such picture any more.")
    model = None if row.state == OPEN else row.model
    return SharedImage(share_token, row.sha256, row.prompt, row.width, row.height, model)
