"""Users: guests, and what is known of one. Accounts are in `identities.py`, visitors in `visitors.py`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, insert, select

from pickapic.collect.refusals import ForbiddenError
from pickapic.collect.tables import duels, rounds, users

GUEST = "guest"
ACCOUNT = "account"
BANNED = "banned"
"""Status of somebody who may not start or pick any more; see `bans.py`."""


@dataclass(frozen=True, slots=True)
class Account:
    """What is known of a user."""

    user_id: int
    kind: str
    created_at: datetime
    duels: int
    picks: int
    open_duel_uid: str | None


def create_guest(connection: Connection, now: datetime) -> int:
    """Make a user without an account and return the id."""
    return connection.execute(
        insert(users).values(kind=GUEST, created_at=now).returning(users.c.id)
    ).scalar_one()


def hold(connection: Connection, user_id: int) -> None:
    """Lock a user's row, so that nobody bans or forgets them while something is begun for them.

    Raises:
        ForbiddenError: that has just happened; with code `banned` or `sign_in`.
    """
    row = connection.execute(
        select(users.c.status, users.c.deleted_at).where(users.c.id == user_id).with_for_update()
    ).one()
    if row.deleted_at is not None:
        raise ForbiddenError("sign_in", "Please sign in first.")
    if row.status == BANNED:
        raise banned()


def banned() -> ForbiddenError:
    """Return what a banned person is told."""
    return ForbiddenError(
        "banned", "You cannot take part here any more. Whoever runs this page can say why, and change it."
    )


def account(connection: Connection, user_id: int) -> Account:
    """Return what is known of a user that exists."""
    user = connection.execute(select(users).where(users.c.id == user_id)).one()
    open_duel = connection.execute(
        select(duels.c.uid)
        .where(duels.c.user_id == user_id, duels.c.state == "open")
        .order_by(duels.c.created_at.desc(), duels.c.id.desc())
        .limit(1)
    ).scalar()
    made = connection.execute(
        select(func.count()).select_from(duels).where(duels.c.user_id == user_id)
    ).scalar_one()
    picks = connection.execute(
        select(func.count())
        .select_from(rounds)
        .where(rounds.c.user_id == user_id, rounds.c.state == "answered")
    ).scalar_one()
    return Account(user.id, user.kind, user.created_at, made, picks, open_duel)
