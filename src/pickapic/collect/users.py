"""Users: guests, and what is known of one. Accounts are in `identities.py`, visitors in `visitors.py`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, insert, select

from pickapic.collect.tables import duels, rounds, users

GUEST = "guest"
ACCOUNT = "account"


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


def account(connection: Connection, user_id: int) -> Account:
    """Return what is known of a user that exists."""
    user = connection.execute(select(users).where(users.c.id == user_id)).one()
    open_duel = connection.execute(
        select(duels.c.uid)
        .where(duels.c.user_id == user_id, duels.c.state == "open")
        .order_by(duels.c.id.desc())
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
