"""Offers to link a new identity to a user who may be the same person. Only that user can accept, and only once."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, insert, select

from pickapic.collect.people import identities
from pickapic.collect.people.sessions import SignedIn
from pickapic.collect.refusals import ConflictError, ForbiddenError, NotFoundError
from pickapic.collect.tables import links

# Long enough to sign in by the other provider.
LASTS = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class Offer:
    """A new identity (of `provider`) and the user it may belong to."""

    provider: str
    subject: str
    email_hash: bytes | None
    user_id: int
    next_path: str


def offer(
    connection: Connection,
    vouched: identities.Vouched,
    secret: str,
    user_id: int,
    browser: str,
    next_path: str,
    now: datetime,
) -> str:
    """Store an offer to the browser whose secret is `browser`, and return its token."""
    token = secrets.token_urlsafe(32)
    connection.execute(
        insert(links).values(
            token_hash=_digest(token),
            browser_hash=_digest(browser),
            provider=vouched.provider,
            subject=vouched.subject,
            email_hash=None if vouched.email is None else identities.email_hash(secret, vouched.email),
            user_id=user_id,
            next_path=next_path,
            expires_at=now + LASTS,
        )
    )
    return token


def read(connection: Connection, token: str, browser: str, now: datetime) -> Offer:
    """Return an offer that was made to this browser.

    Raises:
        NotFoundError: there is none, or no more, or it was made to another browser.
    """
    row = connection.execute(select(links).where(links.c.token_hash == _digest(token))).first()
    if row is None or row.expires_at <= now or not hmac.compare_digest(row.browser_hash, _digest(browser)):
        raise NotFoundError("This page has had its time. Nothing was changed; please sign in again.")
    return Offer(row.provider, row.subject, row.email_hash, row.user_id, row.next_path)


def accept(connection: Connection, token: str, browser: str, who: SignedIn | None, now: datetime) -> Offer:
    """Link the identity to the user it was offered to, who must be the one signed in.

    Raises:
        NotFoundError: see `read`.
        ForbiddenError: with code `sign_in`: somebody else is signed in, or nobody.
        ConflictError: meanwhile the identity has become somebody's.
    """
    found = read(connection, token, browser, now)
    if who is None or who.user_id != found.user_id:
        raise ForbiddenError("sign_in", "Please sign in first in the way you know; then link the two.")
    _delete(connection, token)
    user_id = identities.link(connection, found.user_id, found.provider, found.subject, found.email_hash, now)
    if user_id != found.user_id:
        raise ConflictError("This way of signing in belongs to another account by now. Nothing was changed.")
    return found


def keep_apart(
    connection: Connection, token: str, browser: str, who: SignedIn | None, now: datetime
) -> tuple[int, Offer]:
    """Make an account of its own for the identity (the guest's who brought it), and return its user.

    Raises:
        NotFoundError: see `read`.
    """
    found = read(connection, token, browser, now)
    _delete(connection, token)
    user_id = identities.make_account(connection, found.provider, found.subject, found.email_hash, who, now)
    return user_id, found


def sweep(connection: Connection, now: datetime) -> int:
    """Delete offers that nobody took up, and return how many."""
    return connection.execute(delete(links).where(links.c.expires_at <= now)).rowcount


def _delete(connection: Connection, token: str) -> None:
    connection.execute(delete(links).where(links.c.token_hash == _digest(token)))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
