"""What machines show instead of a session: a random token, of which only the SHA-256 is kept.

A token has one kind and opens what that kind is for, nothing else: `worker` leases jobs and brings images, `score`
asks for scores. It is shown once, when it is made; it can run out, and be revoked. It is found by its hash, so how
long a look takes says nothing about how much of a guess was right.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, get_args

from sqlalchemy import Connection, Row, bindparam, insert, literal_column, or_, select, update

from pickapic.collect import decisions
from pickapic.collect.refusals import NotFoundError
from pickapic.collect.tables import jobs, tokens, workers
from pickapic.records import InputError

Kind = Literal["worker", "score"]
KINDS: tuple[Kind, ...] = get_args(Kind)
WORKER: Kind = "worker"
SCORE: Kind = "score"

LABEL_LENGTH = 64
LONGEST_DAYS = 3650
NOTED_EVERY = timedelta(minutes=1)
"""How often the last use of a token is written down."""

_TOKEN = re.compile(r"pickapic_(?:worker|score)_[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class Machine:
    """Who holds a token that holds: `uid` names the token where people see it."""

    token_id: int
    uid: str
    kind: str
    label: str
    used_at: datetime | None


@dataclass(frozen=True, slots=True)
class Created:
    """A new token; `token` is nowhere else."""

    uid: str
    kind: Kind
    label: str
    expires_at: datetime | None
    token: str


@dataclass(frozen=True, slots=True)
class Listed:
    """A token as its owner sees it again; nobody in `created_by`: the command line."""

    uid: str
    kind: str
    label: str
    state: Literal["active", "expired", "revoked"]
    created_by: int | None
    created_at: datetime
    expires_at: datetime | None
    used_at: datetime | None
    revoked_at: datetime | None


def create(
    connection: Connection, kind: Kind, label: str, days: int | None, actor_id: int | None, now: datetime
) -> Created:
    """Make a token that lasts `days` (None: until it is revoked) and return it, this once.

    Raises:
        InputError: no label, a long one, or a number of days that is none.
    """
    name = " ".join(label.split())
    if not name or len(name) > LABEL_LENGTH or not name.isprintable():
        raise InputError(f"A label of 1 to {LABEL_LENGTH} characters says which machine the token is for.")
    if kind not in KINDS:
        raise InputError(f"A token is of kind {' or '.join(KINDS)}.")
    if days is not None and not 1 <= days <= LONGEST_DAYS:
        raise InputError(f"A token lasts 1 to {LONGEST_DAYS} days, or until it is revoked.")
    token = f"pickapic_{kind}_{secrets.token_urlsafe(32)}"
    uid = secrets.token_hex(6)
    expires_at = None if days is None else now + timedelta(days=days)
    connection.execute(
        insert(tokens).values(
            uid=uid,
            token_hash=_digest(token),
            kind=kind,
            label=name,
            created_by=actor_id,
            created_at=now,
            expires_at=expires_at,
        )
    )
    decisions.record(connection, actor_id, f"create {kind} token", "token", uid, name, now)
    return Created(uid, kind, name, expires_at, token)


_machine = select(tokens).where(
    tokens.c.token_hash == bindparam("digest"),
    tokens.c.revoked_at.is_(None),
    or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > bindparam("now")),
)


def machine(connection: Connection, token: str, now: datetime) -> Machine | None:
    """Return who holds `token`; None: there is no such token, or it is revoked or has run out."""
    if not _TOKEN.fullmatch(token):
        return None
    row = connection.execute(_machine, {"digest": _digest(token), "now": now}).first()
    return Machine(row.id, row.uid, row.kind, row.label, row.used_at) if row else None


_note = (
    update(tokens)
    .where(
        tokens.c.id == bindparam("key"),
        or_(tokens.c.used_at.is_(None), tokens.c.used_at <= bindparam("before")),
    )
    .values(used_at=bindparam("now"))
)


def note_use(connection: Connection, token_id: int, now: datetime) -> None:
    """Write down that a token was used, unless that was done less than NOTED_EVERY ago."""
    connection.execute(_note, {"key": token_id, "now": now, "before": now - NOTED_EVERY})


def listed(connection: Connection, now: datetime) -> list[Listed]:
    """Return all tokens, the latest first."""
    return [_read(row, now) for row in connection.execute(select(tokens).order_by(tokens.c.id.desc()))]


def revoke(connection: Connection, uid: str, actor_id: int | None, reason: str, now: datetime) -> int:
    """Let a token open nothing any more; return how many jobs of its workers went back to the queue.

    Revoking it again changes nothing.

    Raises:
        NotFoundError: there is no such token.
    """
    row = connection.execute(select(tokens).where(tokens.c.uid == uid).with_for_update()).first()
    if row is None:
        raise NotFoundError("There is no token {uid}.", uid=uid)
    if row.revoked_at is not None:
        return 0
    connection.execute(update(tokens).where(tokens.c.id == row.id).values(revoked_at=now))
    names = select(workers.c.name).where(workers.c.token_id == row.id).scalar_subquery()
    # Whoever waits for their images should not wait for the leases to run out too.
    freed = connection.execute(
        update(jobs)
        .where(jobs.c.state == literal_column("'leased'"), jobs.c.worker.in_(names))
        .values(state="queued", worker=None, attempts=jobs.c.attempts - 1)
    ).rowcount
    decisions.record(connection, actor_id, f"revoke {row.kind} token", "token", uid, reason, now)
    return freed


def _read(row: Row[Any], now: datetime) -> Listed:
    state: Literal["active", "expired", "revoked"] = "active"
    if row.revoked_at is not None:
        state = "revoked"
    elif row.expires_at is not None and row.expires_at <= now:
        state = "expired"
    return Listed(
        row.uid,
        row.kind,
        row.label,
        state,
        row.created_by,
        row.created_at,
        row.expires_at,
        row.used_at,
        row.revoked_at,
    )


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
