"""How often each model met each other one, and who won: all that a leaderboard needs, however many rounds there are."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from pickapic.collect.tables import images, rounds

LABELS = {"left": 1.0, "right": 0.0, "tie": 0.5}


@dataclass(frozen=True, slots=True)
class Meeting:
    """`count` answered rounds in which `model_0` and `model_1` met with this outcome (`label_0` as in the dataset)."""

    model_0: str
    model_1: str
    label_0: float
    count: int


def meetings(connection: Connection) -> list[Meeting]:
    """Return all answered rounds, counted by models (in their order on screen) and outcome."""
    left, right = images.alias("l"), images.alias("r")
    rows = connection.execute(
        select(left.c.model, right.c.model, rounds.c.pick, func.count())
        .select_from(rounds)
        .join(left, left.c.id == rounds.c.left_image_id)
        .join(right, right.c.id == rounds.c.right_image_id)
        .where(rounds.c.state == "answered")
        .group_by(left.c.model, right.c.model, rounds.c.pick)
        .order_by(left.c.model, right.c.model, rounds.c.pick)
    )
    return [Meeting(model_0, model_1, LABELS[pick], count) for model_0, model_1, pick, count in rows]
