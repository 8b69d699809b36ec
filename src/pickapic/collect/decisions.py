"""The log of decisions: who decided what, when and why. Rows are only ever added."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, select

from pickapic.collect.tables import decisions

REASON_LENGTH = 500


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision; no actor: it was made on the command line."""

    id: int
    at: datetime
    actor_id: int | None
    action: str
    target_kind: str
    target: str
    reason: str


_insert = insert(decisions)


def record(
    connection: Connection,
    actor_id: int | None,
    action: str,
    target_kind: str,
    target: object,
    reason: str,
    now: datetime,
) -> None:
    """Write a decision down, in the transaction that carries it out.

    `target_kind` and `target` name what it is about: ("user", 7), ("generator", "miniature-dune"), ...
    """
    connection.execute(
        _insert,
        {
            "at": now,
            "actor_id": actor_id,
            "action": action,
            "target_kind": target_kind,
            "target": str(target)[:128],
            "reason": reason.strip()[:REASON_LENGTH],
        },
    )


def recent(
    connection: Connection,
    limit: int = 100,
    before: int | None = None,
    target_kind: str | None = None,
    target: object | None = None,
) -> list[Decision]:
    """Return decisions, the latest first: those on one target, or all; `before` is the id to go on from."""
    query = select(
        decisions.c.id,
        decisions.c.at,
        decisions.c.actor_id,
        decisions.c.action,
        decisions.c.target_kind,
        decisions.c.target,
        decisions.c.reason,
    )
    if before is not None:
        query = query.where(decisions.c.id < before)
    if target_kind is not None:
        query = query.where(decisions.c.target_kind == target_kind)
    if target is not None:
        query = query.where(decisions.c.target == str(target))
    return [Decision(*row) for row in connection.execute(query.order_by(decisions.c.id.desc()).limit(limit))]
