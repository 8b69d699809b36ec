"""Keyed hashes of addresses and devices, by which double accounts are found; kept for `mark_days`, then deleted.

What is hashed is never stored, and the key is the secret of the deployment: nobody without it can test an address
against a hash. Of an IPv6 address only the first 64 bits count, which is what one household gets. Addresses that are
not of the public internet are no marks: behind a proxy that is not trusted, everybody would share one.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import Connection, delete, insert, select, update

from pickapic.collect.tables import marks, users

# A mark that is seen again is written again at most this often.
FRESH = timedelta(days=1)

Kind = Literal["address", "device"]


@dataclass(frozen=True, slots=True)
class Mark:
    """A keyed hash, 32 bytes."""

    kind: Kind
    digest: bytes


@dataclass(frozen=True, slots=True)
class Seen:
    """When a mark of some kind was first and last seen at a user."""

    kind: str
    first_at: datetime
    last_at: datetime


def address_mark(secret: str, address: str) -> Mark | None:
    """Return the mark of an IP address, or None if it is none of the public internet."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    if isinstance(parsed, ipaddress.IPv6Address):
        parsed = parsed.ipv4_mapped or parsed
    if not parsed.is_global:
        return None
    if isinstance(parsed, ipaddress.IPv6Address):
        parsed = ipaddress.ip_network((parsed, 64), strict=False).network_address
    return Mark("address", _digest(secret, "address", parsed.compressed))


def device_mark(secret: str, device: str) -> Mark:
    """Return the mark of a browser, from the random value of its device cookie."""
    return Mark("device", _digest(secret, "device", device))


def note(connection: Connection, user_id: int, seen: tuple[Mark, ...], now: datetime) -> None:
    """Write down marks of a user, those of the last day not again."""
    if not seen:
        return
    # One at a time: of two requests at once the second must see what the first has written.
    connection.execute(select(users.c.id).where(users.c.id == user_id).with_for_update())
    for mark in seen:
        mine = (marks.c.user_id == user_id) & (marks.c.kind == mark.kind) & (marks.c.digest == mark.digest)
        last = connection.execute(select(marks.c.last_at).where(mine)).scalar()
        if last is None:
            connection.execute(
                insert(marks).values(
                    user_id=user_id, kind=mark.kind, digest=mark.digest, first_at=now, last_at=now
                )
            )
        elif last <= now - FRESH:
            connection.execute(update(marks).where(mine).values(last_at=now))


def of_user(connection: Connection, user_id: int) -> list[Seen]:
    """Return when marks of a user were seen; the hashes themselves would tell them nothing."""
    rows = connection.execute(
        select(marks.c.kind, marks.c.first_at, marks.c.last_at)
        .where(marks.c.user_id == user_id)
        .order_by(marks.c.id)
    )
    return [Seen(*row) for row in rows]


def sweep(connection: Connection, now: datetime, days: int) -> int:
    """Delete marks that were not seen for `days`, and return how many."""
    return connection.execute(delete(marks).where(marks.c.last_at <= now - timedelta(days=days))).rowcount


def _digest(secret: str, kind: str, value: str) -> bytes:
    return hmac.new(secret.encode(), f"mark.{kind}.{value}".encode(), hashlib.sha256).digest()
