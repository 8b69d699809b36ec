"""Accounts: which provider vouches for whom, and what becomes of somebody who arrives from one.

A provider's word is (provider, subject), the subject being the provider's own id of the person. An address is used only
if the provider has verified it, and kept only as a keyed hash. A new identity whose address belongs to a known user
signs nobody in: it becomes an offer to link (`collect/people/links.py`), which that user alone can accept.
"""

from __future__ import annotations

import hashlib
import hmac
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from pickapic.collect.people import bans
from pickapic.collect.people.sessions import SignedIn
from pickapic.collect.people.users import ACCOUNT, BANNED, GUEST, banned
from pickapic.collect.tables import identities, users

# Stands before the keyed hash of a subject that is kept so that a ban outlives the account.
GONE = "gone:"


@dataclass(frozen=True, slots=True)
class Vouched:
    """What a provider says of a person; `email` only if it has verified it."""

    provider: str
    subject: str
    email: str | None


@dataclass(frozen=True, slots=True)
class Identity:
    """One way in which a user signs in."""

    provider: str
    linked_at: datetime
    seen_at: datetime
    has_email: bool


@dataclass(frozen=True, slots=True)
class Arrival:
    """What becomes of somebody who comes from a provider.

    `signed_in`: they are `user_id`. `offered`: the identity is new, and may belong to `user_id`, because of its
    address or because that user is signed in.
    """

    outcome: Literal["signed_in", "offered"]
    user_id: int


def email_hash(secret: str, email: str) -> bytes:
    """Return the keyed hash of an address; case does not count."""
    plain = unicodedata.normalize("NFKC", email.strip()).casefold()
    return hmac.new(secret.encode(), b"email." + plain.encode(), hashlib.sha256).digest()


def arrive(
    connection: Connection,
    vouched: Vouched,
    who: SignedIn | None,
    secret: str,
    admins: Collection[str],
    now: datetime,
) -> Arrival:
    """Find out who somebody is that a provider vouches for; `who` is signed in already in that browser.

    A known identity is its user. A new one becomes an account, of the guest who brought it or a fresh one; unless
    it may belong to somebody known.

    Raises:
        ForbiddenError: they were banned, and had their account deleted.
    """
    digest = None if vouched.email is None else email_hash(secret, vouched.email)
    known = connection.execute(
        select(identities.c.id, identities.c.user_id).where(
            identities.c.provider == vouched.provider, identities.c.subject == vouched.subject
        )
    ).first()
    if known is not None:
        values = {"seen_at": now} if digest is None else {"seen_at": now, "email_hash": digest}
        connection.execute(update(identities).where(identities.c.id == known.id).values(values))
        user_id = known.user_id
    else:
        _refuse_gone(connection, vouched, secret)
        owner = who.user_id if who and who.kind == ACCOUNT else _owner(connection, digest)
        if owner is not None:
            return Arrival("offered", owner)
        user_id = make_account(connection, vouched.provider, vouched.subject, digest, who, now)
    if vouched.email is not None and vouched.email.strip().lower() in admins:
        _make_admin(connection, user_id, now)
    return Arrival("signed_in", user_id)


def make_account(
    connection: Connection,
    provider: str,
    subject: str,
    digest: bytes | None,
    who: SignedIn | None,
    now: datetime,
) -> int:
    """Make an account for a new identity and return its user: a guest who is signed in keeps their number and picks."""
    if who is not None and who.kind == GUEST:
        user_id = link(connection, who.user_id, provider, subject, digest, now)
        if user_id == who.user_id:
            connection.execute(update(users).where(users.c.id == user_id).values(kind=ACCOUNT))
        return user_id
    user_id = connection.execute(
        insert(users).values(kind=ACCOUNT, created_at=now).returning(users.c.id)
    ).scalar_one()
    return link(connection, user_id, provider, subject, digest, now)


def link(
    connection: Connection, user_id: int, provider: str, subject: str, digest: bytes | None, now: datetime
) -> int:
    """Store that a provider vouches for a user; return whose it is, should two requests do this at once."""
    try:
        with connection.begin_nested():
            connection.execute(
                insert(identities).values(
                    user_id=user_id,
                    provider=provider,
                    subject=subject,
                    email_hash=digest,
                    linked_at=now,
                    seen_at=now,
                )
            )
    except IntegrityError:
        return connection.execute(
            select(identities.c.user_id).where(
                identities.c.provider == provider, identities.c.subject == subject
            )
        ).scalar_one()
    return user_id


def of_user(connection: Connection, user_id: int) -> list[Identity]:
    """Return the ways in which a user signs in, the oldest first."""
    rows = connection.execute(
        select(identities).where(identities.c.user_id == user_id).order_by(identities.c.id)
    )
    return [Identity(row.provider, row.linked_at, row.seen_at, row.email_hash is not None) for row in rows]


def forget(connection: Connection, user_id: int, secret: str, keep_ban: bool, now: datetime) -> None:
    """Delete a user's identities; with `keep_ban`, leave keyed hashes that are tied to nobody, so that a ban holds."""
    rows = connection.execute(select(identities).where(identities.c.user_id == user_id)).all()
    connection.execute(delete(identities).where(identities.c.user_id == user_id))
    if not (keep_ban and rows):
        return
    nobody = connection.execute(
        insert(users)
        .values(kind=ACCOUNT, status=BANNED, created_at=now, deleted_at=now)
        .returning(users.c.id)
    ).scalar_one()
    for row in rows:
        gone = _gone(secret, row.provider, row.subject)
        link(connection, nobody, row.provider, gone, None, now)


def _owner(connection: Connection, digest: bytes | None) -> int | None:
    if digest is None:
        return None
    return connection.execute(
        select(identities.c.user_id)
        .join(users, users.c.id == identities.c.user_id)
        .where(identities.c.email_hash == digest, users.c.deleted_at.is_(None))
        .order_by(identities.c.id)
        .limit(1)
    ).scalar()


def _refuse_gone(connection: Connection, vouched: Vouched, secret: str) -> None:
    found = connection.execute(
        select(identities.c.id).where(
            identities.c.provider == vouched.provider,
            identities.c.subject == _gone(secret, vouched.provider, vouched.subject),
        )
    ).first()
    if found is not None:
        raise banned()


def _gone(secret: str, provider: str, subject: str) -> str:
    text = f"gone.{provider}.{subject}"
    return GONE + hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def _make_admin(connection: Connection, user_id: int, now: datetime) -> None:
    user = connection.execute(select(users.c.role, users.c.status).where(users.c.id == user_id)).one()
    if user.role != "admin" and user.status != BANNED:
        why = "signed in with a verified address of the setting admins"
        bans.set_role(connection, None, user_id, "admin", why, now)
