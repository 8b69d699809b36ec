"""Users: guests so far. What is known of one, what they did, and how they are forgotten."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, func, insert, select, update

from pickapic.collect import jobs
from pickapic.collect.tables import duels, images, rounds, sessions, users
from pickapic.records import Pick

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


@dataclass(frozen=True, slots=True)
class AnsweredRound:
    """One answer of a user, with the files that were shown."""

    duel_uid: str
    typed: str
    number: int
    pick: Pick
    shown_at: datetime
    picked_at: datetime
    response_ms: int
    left_sha256: str
    right_sha256: str


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


def history(connection: Connection, user_id: int) -> list[AnsweredRound]:
    """Return all answers of a user, oldest first."""
    left, right = images.alias("l"), images.alias("r")
    rows = connection.execute(
        select(
            duels.c.uid,
            duels.c.typed,
            rounds.c.number,
            rounds.c.pick,
            rounds.c.shown_at,
            rounds.c.picked_at,
            rounds.c.response_ms,
            left.c.sha256.label("left_sha256"),
            right.c.sha256.label("right_sha256"),
        )
        .select_from(rounds)
        .join(duels, duels.c.id == rounds.c.duel_id)
        .join(left, left.c.id == rounds.c.left_image_id)
        .join(right, right.c.id == rounds.c.right_image_id)
        .where(rounds.c.user_id == user_id, rounds.c.state == "answered")
        .order_by(rounds.c.id)
    )
    return [AnsweredRound(*row) for row in rows]


def forget(connection: Connection, user_id: int, now: datetime) -> None:
    """Sign a user out everywhere and end what is open.

    The answers stay, under a number that nothing ties to a person any more: a guest's row never held more,
    and what was typed beside the caption goes.
    """
    open_duels = connection.execute(
        select(duels.c.id).where(duels.c.user_id == user_id, duels.c.state == "open")
    ).scalars()
    for duel_id in list(open_duels):
        jobs.cancel(connection, duel_id)
    connection.execute(
        update(duels)
        .where(duels.c.user_id == user_id, duels.c.state == "open")
        .values(state="closed", closed_at=now)
    )
    connection.execute(update(duels).where(duels.c.user_id == user_id).values(typed=duels.c.caption))
    connection.execute(delete(sessions).where(sessions.c.user_id == user_id))
    connection.execute(update(users).where(users.c.id == user_id).values(deleted_at=now))
