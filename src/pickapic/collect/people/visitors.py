"""What somebody may do before signing in: one fixed prompt, a few rounds; none of it is published."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, exists, func, insert, select

from pickapic.collect.people import forgetting
from pickapic.collect.refusals import ForbiddenError
from pickapic.collect.tables import duels, prompt_reviews, reports, rounds, sessions, users
from pickapic.settings import Settings

VISITOR = "visitor"
# A page that is opened again begins again, and a round may be skipped; but images cost something.
STARTS = 5
SKIPS = 20
SWEPT_AT_ONCE = 50


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


def sweep(connection: Connection, secret: str, days: int, now: datetime) -> tuple[int, set[str]]:
    """Delete some visitors who began more than `days` ago and have no session left, by which they could come back.

    Returns how many they were, at most SWEPT_AT_ONCE, and the files (by SHA-256) of the images whose rows went.
    """
    gone = connection.execute(
        select(users.c.id)
        .where(
            users.c.kind == VISITOR,
            users.c.deleted_at.is_(None),
            users.c.created_at < now - timedelta(days=days),
            ~exists().where(sessions.c.user_id == users.c.id),
        )
        .order_by(users.c.id)
        .limit(SWEPT_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    swept = list(gone.scalars())
    files: set[str] = set()
    for user_id in swept:
        files |= forgetting.forget(connection, user_id, "remove", secret, now)
    # Whoever reported something leaves a row that nothing ties to a person.
    left = [table.c.user_id == users.c.id for table in (reports, prompt_reviews)]
    connection.execute(
        delete(users).where(users.c.id.in_(swept), *(~exists().where(condition) for condition in left))
    )
    return len(swept), files


def _answered(connection: Connection, user_id: int, besides: str = "") -> int:
    return connection.execute(
        select(func.count())
        .select_from(rounds)
        .where(rounds.c.user_id == user_id, rounds.c.state == "answered", rounds.c.uid != besides)
    ).scalar_one()


def _tried() -> ForbiddenError:
    return ForbiddenError("sign_in", "That was the free prompt. Sign in to go on with prompts of your own.")
