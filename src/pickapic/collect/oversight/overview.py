"""Numbers and lists for whoever runs a collection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Connection, func, select

from pickapic.collect.queue import jobs as queue
from pickapic.collect.tables import duels, images, rounds, users


@dataclass(frozen=True, slots=True)
class Stats:
    """How much there is of everything."""

    users: int
    duels_open: int
    duels_closed: int
    duels_failed: int
    images: int
    rounds_answered: int
    ties: int
    rounds_skipped: int
    jobs_queued: int
    jobs_leased: int
    jobs_dead: int


def stats(connection: Connection) -> Stats:
    """Count everything."""
    by_duel_state = _counts(connection, duels.c.state)
    by_round_state = _counts(connection, rounds.c.state)
    by_pick = _counts(connection, rounds.c.pick)
    depths = queue.depths(connection)
    return Stats(
        users=connection.execute(select(func.count()).select_from(users)).scalar_one(),
        duels_open=by_duel_state.get("open", 0),
        duels_closed=by_duel_state.get("closed", 0),
        duels_failed=by_duel_state.get("failed", 0),
        images=connection.execute(select(func.count()).select_from(images)).scalar_one(),
        rounds_answered=by_round_state.get("answered", 0),
        ties=by_pick.get("tie", 0),
        rounds_skipped=by_round_state.get("skipped", 0),
        jobs_queued=depths[queue.QUEUED],
        jobs_leased=depths[queue.LEASED],
        jobs_dead=depths[queue.DEAD],
    )


def _counts(connection: Connection, column: Column[Any]) -> dict[str, int]:
    rows = connection.execute(select(column, func.count()).group_by(column))
    return {row[0]: row[1] for row in rows if row[0] is not None}
