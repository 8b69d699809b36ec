"""Sign-ins on their way to a provider and back. Each belongs to one browser, lasts ten minutes, and is used once."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, insert

from pickapic.collect.tables import sign_ins

LASTS = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Departure:
    """What goes to the provider: the state, the nonce and (as its hash) the code verifier."""

    state: str
    nonce: str
    code_verifier: str


@dataclass(frozen=True, slots=True)
class SignIn:
    """What was kept of a sign-in until its answer came; `user_id` is who was signed in when it began."""

    code_verifier: str
    nonce: str
    next_path: str
    user_id: int | None


def begin(
    connection: Connection, provider: str, browser: str, next_path: str, user_id: int | None, now: datetime
) -> Departure:
    """Store a sign-in of the browser whose secret is `browser`, and return what to send along."""
    departure = Departure(secrets.token_urlsafe(32), secrets.token_urlsafe(32), secrets.token_urlsafe(48))
    connection.execute(
        insert(sign_ins).values(
            state_hash=_digest(departure.state),
            browser_hash=_digest(browser),
            provider=provider,
            code_verifier=departure.code_verifier,
            nonce=departure.nonce,
            next_path=next_path,
            user_id=user_id,
            expires_at=now + LASTS,
        )
    )
    return departure


def take(connection: Connection, provider: str, state: str, browser: str, now: datetime) -> SignIn | None:
    """Return the sign-in of a state and delete it; None: unknown, used, too old, or another browser's or provider's."""
    row = connection.execute(
        delete(sign_ins).where(sign_ins.c.state_hash == _digest(state)).returning(sign_ins)
    ).first()
    if (
        row is None
        or row.provider != provider
        or row.expires_at <= now
        or not hmac.compare_digest(row.browser_hash, _digest(browser))
    ):
        return None
    return SignIn(row.code_verifier, row.nonce, row.next_path, row.user_id)


def sweep(connection: Connection, now: datetime) -> int:
    """Delete those that nobody came back from, and return how many."""
    return connection.execute(delete(sign_ins).where(sign_ins.c.expires_at <= now)).rowcount


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
