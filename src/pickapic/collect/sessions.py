"""Signed-in browsers. The cookie holds a random token, the database only its hash."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, delete, func, insert, select

from pickapic.collect.tables import consents, sessions, users


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Who holds a session: `kind` is guest, account or visitor; `role` person, moderator or admin.

    `status` is active, banned or excluded; `session_key` is the browser, the same as long as it stays signed
    in; `consent` is the version of the terms agreed to last.
    """

    user_id: int
    kind: str
    role: str
    status: str
    session_key: int
    consent: str | None


def open_session(connection: Connection, user_id: int, days: int, now: datetime) -> str:
    """Sign a user in for `days` and return the token for the cookie; it cannot be read again."""
    token = secrets.token_urlsafe(32)
    connection.execute(
        insert(sessions).values(
            token_hash=hash_token(token),
            user_id=user_id,
            uid=secrets.token_urlsafe(16),
            created_at=now,
            seen_at=now,
            expires_at=now + timedelta(days=days),
        )
    )
    return token


_agreed_to = (
    select(consents.c.version)
    .where(consents.c.user_id == users.c.id)
    .order_by(consents.c.given_at.desc(), consents.c.id.desc())
    .limit(1)
    .scalar_subquery()
)
_signed_in = (
    select(
        users.c.id,
        users.c.kind,
        users.c.role,
        users.c.status,
        func.coalesce(sessions.c.replaced_by, sessions.c.id),
        _agreed_to,
    )
    .join(users, users.c.id == sessions.c.user_id)
    .where(
        sessions.c.token_hash == bindparam("token_hash"),
        sessions.c.expires_at > bindparam("now"),
        users.c.deleted_at.is_(None),
    )
)


def signed_in(connection: Connection, token: str, now: datetime) -> SignedIn | None:
    """Return who holds a token, or None: unknown, expired, signed out or deleted."""
    row = connection.execute(_signed_in, {"token_hash": hash_token(token), "now": now}).first()
    return None if row is None else SignedIn(*row)


def close_session(connection: Connection, token: str) -> None:
    """Sign out: the token is worthless from now on."""
    connection.execute(delete(sessions).where(sessions.c.token_hash == hash_token(token)))


def hash_token(token: str) -> bytes:
    """Return the SHA-256 of a token; it has 256 random bits, so it needs no salt and no slow hash."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
