"""What somebody may do before signing in: one fixed prompt, a few rounds; none of it is published."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, func, insert, select

from pickapic.collect.refusals import ForbiddenError
from pickapic.collect.tables import duels, rounds, users
from pickapic.settings import Settings

VISITOR = "visitor"
# A page that is opened again begins again, and a round may be skipped; but images cost something.
STARTS = 5
SKIPS = 20


def create_visitor(connection: Connection, now: datetime) -> int:
    """Make a user who may only try the free prompt, and return the id."""
    return connection.execute(
        insert(users).values(kind=VISITOR, created_at=now).returning(users.c.id)
    ).scalar_one()


def check_start(connection: Connection, settings: Settings, user_id: int, typed: str) -> None:
    """Refuse a visitor's prompt unless it is the free one, and not too often.

    Raises:
        ForbiddenError: with code `sign_in`.
    """
    if not settings.free_prompt or typed.strip() != settings.free_prompt.strip():
        raise ForbiddenError("sign_in", "Sign in to write a prompt of your own; yours is kept here.")
    started = connection.execute(
        select(func.count()).select_from(duels).where(duels.c.user_id == user_id)
    ).scalar_one()
    if started >= STARTS or _answered(connection, user_id) >= settings.free_picks:
        raise _tried()


def check_pick(connection: Connection, settings: Settings, user_id: int, round_uid: str) -> None:
    """Refuse a visitor's answer after the last free one; an answer that is sent again is not a new one.

    Raises:
        ForbiddenError: with code `sign_in`.
    """
    if _answered(connection, user_id, round_uid) >= settings.free_picks:
        raise _tried()


def check_skip(connection: Connection, user_id: int) -> None:
    """Refuse a visitor who only skips.

    Raises:
        ForbiddenError: with code `sign_in`.
    """
    skipped = connection.execute(
        select(func.count())
        .select_from(rounds)
        .where(rounds.c.user_id == user_id, rounds.c.state == "skipped")
    ).scalar_one()
    if skipped >= SKIPS:
        raise _tried()


def _answered(connection: Connection, user_id: int, besides: str = "") -> int:
    return connection.execute(
        select(func.count())
        .select_from(rounds)
        .where(rounds.c.user_id == user_id, rounds.c.state == "answered", rounds.c.uid != besides)
    ).scalar_one()


def _tried() -> ForbiddenError:
    return ForbiddenError("sign_in", "That was the free prompt. Sign in to go on with prompts of your own.")
