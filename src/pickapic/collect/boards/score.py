"""A person's score: what they gave, and how carefully. Nothing in it grows by being fast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from sqlalchemy import Connection, and_, exists, func, select

from pickapic.collect.tables import duels, rounds

STREAK_POINTS = 10
LONGEST_STREAK = 10
"""Beyond so many known answers right in a row a streak brings no more points."""


@dataclass(frozen=True, slots=True)
class Score:
    """`points` for `picks` that stand and for `streak`, how many known answers were right in a row, up to the last."""

    points: int
    picks: int
    streak: int


def score(picks: int, gold: Sequence[bool]) -> Score:
    """Return the score of somebody with `picks` answers that stand: a point each, and ten for each step of the streak.

    Args:
        picks: answers given and not taken back. Gold rounds are among them, so that nothing tells them apart.
        gold: whether each gold round was answered right, the latest first; only of duels that are over.
    """
    streak = min(LONGEST_STREAK, sum(1 for _ in takewhile(bool, gold)))
    return Score(picks + STREAK_POINTS * streak, picks, streak)


def score_of(connection: Connection, user_id: int) -> Score:
    """Return the score of a user, see `score`."""
    answered = and_(rounds.c.user_id == user_id, rounds.c.state == "answered")
    picks = connection.execute(select(func.count()).select_from(rounds).where(answered)).scalar_one()
    is_open = exists().where(duels.c.id == rounds.c.duel_id, duels.c.state == "open")
    gold = connection.execute(
        select(rounds.c.pick == rounds.c.gold)
        .where(answered, rounds.c.gold.is_not(None), ~is_open)
        .order_by(rounds.c.picked_at.desc(), rounds.c.id.desc())
        .limit(LONGEST_STREAK)
    ).scalars()
    return score(picks, [bool(right) for right in gold])
