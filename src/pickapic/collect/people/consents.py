"""What people agreed to: versions of the terms."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, select, update

from pickapic.collect.refusals import ConflictError
from pickapic.collect.tables import consents, users


@dataclass(frozen=True, slots=True)
class Consent:
    """A version of the terms, and when somebody agreed to it."""

    version: str
    given_at: datetime


def agree(connection: Connection, user_id: int, version: str, now: datetime) -> None:
    """Store that a user agrees to a version of the terms; again is fine, and counts as the latest."""
    # One at a time: of two requests at once the second must see what the first has written.
    connection.execute(select(users.c.id).where(users.c.id == user_id).with_for_update())
    given = connection.execute(
        update(consents)
        .where(consents.c.user_id == user_id, consents.c.version == version)
        .values(given_at=now)
    ).rowcount
    if not given:
        connection.execute(insert(consents).values(user_id=user_id, version=version, given_at=now))


def agree_to_present(connection: Connection, user_id: int, version: str, present: str, now: datetime) -> None:
    """Store that a user agrees to the terms that they read.

    Raises:
        ConflictError: they read another version than the present one.
    """
    if version != present:
        raise ConflictError(
            "The terms have changed since you opened them; please read them again. Nothing was stored."
        )
    agree(connection, user_id, version, now)


def given(connection: Connection, user_id: int) -> list[Consent]:
    """Return what a user agreed to, oldest first."""
    rows = connection.execute(
        select(consents.c.version, consents.c.given_at)
        .where(consents.c.user_id == user_id)
        .order_by(consents.c.given_at, consents.c.id)
    )
    return [Consent(*row) for row in rows]
