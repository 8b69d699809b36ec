"""Signed-in browsers. The cookie holds a random token, the database only its hash.

A session gets a new token every `session_rotate_hours`. The new one is handed out beside the present one, which goes
on working until the browser has shown that the new one arrived, and for a minute after that: neither an answer that
got lost nor requests under way at the same time sign anybody out. Such a token beside the session's own is a row of
the same table with `replaced_by` set.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Connection, Row, bindparam, delete, func, insert, or_, select, update

from pickapic.collect.refusals import NotFoundError
from pickapic.collect.tables import consents, sessions, users
from pickapic.collect.uids import new_uid

Standing = Literal["own", "new", "old"]

# How long a replaced token still works, and how long after one new token no other is made.
GRACE = timedelta(minutes=1)
# Somebody who only looks around comes back soon or not at all.
VISITOR_DAYS = 1
LABEL_LENGTH = 64
# The part of a token that stays when it is renewed. The csrf cookie is signed with it, so it goes on fitting.
STABLE = 16


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Who holds a session: `kind` is guest, account or visitor; `role` person, moderator or admin.

    `status` is active, trusted, banned or excluded; `session_key` is the browser, the same as long as it stays
    signed in; `consent` is the version of the terms agreed to last. `standing` says whether the token is the session's
    own, the new one that was not yet used, or the old one; `renewed_at` is when the session got its own.
    """

    user_id: int
    kind: str
    role: str
    status: str
    session_key: int
    consent: str | None
    standing: Standing
    renewed_at: datetime
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class SignedInBrowser:
    """A session as its owner sees it in a list."""

    session_key: int
    uid: str
    label: str
    created_at: datetime
    seen_at: datetime


def open_session(connection: Connection, user_id: int, days: int, now: datetime, label: str = "") -> str:
    """Sign a user in for `days` and return the token for the cookie; it cannot be read again."""
    token = secrets.token_urlsafe(32)
    connection.execute(
        insert(sessions).values(
            token_hash=hash_token(token),
            user_id=user_id,
            uid=new_uid(),
            label=label[:LABEL_LENGTH],
            created_at=now,
            renewed_at=now,
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
        sessions.c.id.label("session_id"),
        sessions.c.replaced_by,
        sessions.c.replaced_at,
        sessions.c.created_at,
        sessions.c.renewed_at,
        sessions.c.seen_at,
        _agreed_to.label("consent"),
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
    if row is None:
        return None
    standing: Standing = "own" if row.replaced_by is None else "new" if row.replaced_at is None else "old"
    return SignedIn(
        user_id=row.id,
        kind=row.kind,
        role=row.role,
        status=row.status,
        session_key=row.replaced_by or row.session_id,
        consent=row.consent,
        standing=standing,
        renewed_at=row.renewed_at or row.created_at,
        seen_at=row.seen_at or row.created_at,
    )


def renew(connection: Connection, token: str, now: datetime) -> str | None:
    """Make a new token for the session whose own is `token`; None: it is not, or one was made just now."""
    session = _own(connection, token)
    if session is None:
        return None
    made = connection.execute(
        select(sessions.c.created_at).where(
            sessions.c.replaced_by == session.id,
            sessions.c.replaced_at.is_(None),
            sessions.c.created_at > now - GRACE,
        )
    ).first()
    if made is not None:
        return None
    new = token[:STABLE] + secrets.token_urlsafe(32)[STABLE:]
    _insert_beside(connection, session, hash_token(new), now, session.expires_at, None)
    return new


def settle(connection: Connection, token: str, days: int, now: datetime) -> bool:
    """Make a new token, now that its browser has used it, the session's own; the old one works a little longer.

    Returns False if there is nothing to settle: another request has just done it.
    """
    digest = hash_token(token)
    beside = connection.execute(
        select(sessions.c.replaced_by).where(
            sessions.c.token_hash == digest,
            sessions.c.replaced_by.is_not(None),
            sessions.c.replaced_at.is_(None),
        )
    ).first()
    if beside is None:
        return False
    session = connection.execute(
        select(sessions).where(sessions.c.id == beside.replaced_by).with_for_update()
    ).first()
    gone = connection.execute(
        delete(sessions).where(sessions.c.token_hash == digest, sessions.c.replaced_at.is_(None))
    ).rowcount
    if session is None or not gone or session.token_hash == digest:
        return False
    connection.execute(
        update(sessions)
        .where(sessions.c.id == session.id)
        .values(token_hash=digest, renewed_at=now, seen_at=now, expires_at=now + timedelta(days=days))
    )
    _insert_beside(connection, session, session.token_hash, now, now + GRACE, now)
    return True


def touch(connection: Connection, session_key: int, label: str, now: datetime) -> None:
    """Note that a browser is in use; one that signed in before there was a list gets its place there."""
    connection.execute(
        update(sessions)
        .where(sessions.c.id == session_key)
        .values(
            seen_at=now,
            label=label[:LABEL_LENGTH],
            uid=func.coalesce(sessions.c.uid, new_uid()),
        )
    )


def browsers(connection: Connection, user_id: int, now: datetime) -> list[SignedInBrowser]:
    """Return where a user is signed in, the last used first."""
    rows = connection.execute(
        select(sessions)
        .where(
            sessions.c.user_id == user_id,
            sessions.c.replaced_by.is_(None),
            sessions.c.expires_at > now,
            sessions.c.uid.is_not(None),
        )
        .order_by(sessions.c.seen_at.desc(), sessions.c.id.desc())
    )
    return [
        SignedInBrowser(row.id, row.uid, row.label, row.created_at, row.seen_at or row.created_at)
        for row in rows
    ]


def close_session(connection: Connection, token: str) -> None:
    """Sign out: the token, and every other of the same browser, is worthless from now on."""
    row = connection.execute(
        select(sessions.c.id, sessions.c.replaced_by).where(sessions.c.token_hash == hash_token(token))
    ).first()
    if row is not None:
        _delete(connection, row.replaced_by or row.id)


def close_browser(connection: Connection, user_id: int, uid: str) -> int:
    """Sign out one of a user's browsers by its name in the list, and return its session key.

    Raises:
        NotFoundError: the user has no such browser.
    """
    row = connection.execute(
        select(sessions.c.id).where(sessions.c.user_id == user_id, sessions.c.uid == uid)
    ).first()
    if row is None:
        raise NotFoundError("You are not signed in with such a browser.")
    _delete(connection, row.id)
    return row.id


def close_all(connection: Connection, user_id: int) -> None:
    """Sign a user out everywhere."""
    connection.execute(delete(sessions).where(sessions.c.user_id == user_id))


def sweep(connection: Connection, now: datetime) -> int:
    """Delete what has expired, and return how many tokens that were."""
    return connection.execute(delete(sessions).where(sessions.c.expires_at <= now)).rowcount


def hash_token(token: str) -> bytes:
    """Return the SHA-256 of a token; it has 256 random bits, so it needs no salt and no slow hash."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _own(connection: Connection, token: str) -> Row[Any] | None:
    return connection.execute(
        select(sessions)
        .where(sessions.c.token_hash == hash_token(token), sessions.c.replaced_by.is_(None))
        .with_for_update()
    ).first()


def _insert_beside(
    connection: Connection,
    session: Row[Any],
    digest: bytes,
    now: datetime,
    expires_at: datetime,
    replaced_at: datetime | None,
) -> None:
    connection.execute(
        insert(sessions).values(
            token_hash=digest,
            user_id=session.user_id,
            created_at=now,
            expires_at=expires_at,
            replaced_by=session.id,
            replaced_at=replaced_at,
        )
    )


def _delete(connection: Connection, session_key: int) -> None:
    connection.execute(
        delete(sessions).where(or_(sessions.c.id == session_key, sessions.c.replaced_by == session_key))
    )
