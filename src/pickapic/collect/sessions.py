"""Signed-in browsers. The cookie holds a random token, the database only its hash."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, delete, insert, select

from pickapic.collect.tables import sessions, users


def open_session(connection: Connection, user_id: int, days: int, now: datetime) -> str:
    """Sign a user in for `days` and return the token for the cookie; it cannot be read again."""
    token = secrets.token_urlsafe(32)
    connection.execute(
        insert(sessions).values(
            token_hash=hash_token(token),
            user_id=user_id,
            created_at=now,
            expires_at=now + timedelta(days=days),
        )
    )
    return token


_signed_in = (
    select(sessions.c.user_id)
    .join(users, users.c.id == sessions.c.user_id)
    .where(
        sessions.c.token_hash == bindparam("token_hash"),
        sessions.c.expires_at > bindparam("now"),
        users.c.deleted_at.is_(None),
    )
)


def signed_in(connection: Connection, token: str, now: datetime) -> int | None:
    """Return the user of a token, or None: unknown, expired, signed out or deleted."""
    return connection.execute(_signed_in, {"token_hash": hash_token(token), "now": now}).scalar()


def close_session(connection: Connection, token: str) -> None:
    """Sign out: the token is worthless from now on."""
    connection.execute(delete(sessions).where(sessions.c.token_hash == hash_token(token)))


def hash_token(token: str) -> bytes:
    """Return the SHA-256 of a token; it has 256 random bits, so it needs no salt and no slow hash."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
