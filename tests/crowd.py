"""Rounds of many people in a database, in milliseconds: one image a model serves all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, func, insert, select

from pickapic.collect.tables import duels, images, jobs, rounds, users

START = datetime(2026, 1, 1, tzinfo=UTC)


def add_user(connection: Connection, kind: str = "guest", created_at: datetime = START) -> int:
    return connection.execute(
        insert(users).values(kind=kind, created_at=created_at).returning(users.c.id)
    ).scalar_one()


def add_duel(connection: Connection, user: int, caption: str = "a cat", at: datetime = START) -> int:
    number = _next(connection, duels)
    return connection.execute(
        insert(duels)
        .values(
            uid=f"duel{number}",
            user_id=user,
            typed=caption,
            caption=caption,
            negative_prompt="",
            state="open",
            created_at=at,
        )
        .returning(duels.c.id)
    ).scalar_one()


def add_images(connection: Connection, duel: int, user: int, models: Sequence[str]) -> dict[str, int]:
    """Return the key of a new image of each model."""
    return {model: _image(connection, duel, user, model) for model in models}


def _image(connection: Connection, duel: int, user: int, model: str) -> int:
    number = _next(connection, images)
    made = {
        "duel_id": duel,
        "prompt": "p",
        "negative_prompt": "",
        "guidance_scale": 7.0,
        "steps": 25,
        "seed": 1,
        "created_at": START,
    }
    job = connection.execute(
        insert(jobs)
        .values(
            user_id=user, state="done", priority=1, virtual_time=0, not_before=START, generator=model, **made
        )
        .returning(jobs.c.id)
    ).scalar_one()
    return connection.execute(
        insert(images)
        .values(
            uid=f"image{number}",
            token=f"token{number}",
            job_id=job,
            state="shown",
            sha256=f"{number:064x}",
            width=64,
            height=64,
            model=model,
            **made,
        )
        .returning(images.c.id)
    ).scalar_one()


def add_rounds(
    connection: Connection, user: int, duel: int, played: Sequence, image_of: dict[str, int], session: int = 1
) -> None:
    """Insert rounds as `benchmarks/quality.py` plays them: `left` and `right` name models."""
    first = _next(connection, rounds)
    connection.execute(
        insert(rounds),
        [
            {
                "uid": f"round{first + index}",
                "duel_id": duel,
                "user_id": user,
                "number": one.number,
                "left_image_id": image_of[one.left],
                "right_image_id": image_of[one.right],
                "incumbent": one.incumbent,
                "state": "answered",
                "pick": one.pick,
                "gold": one.gold,
                "session_key": session,
                "shown_at": START + timedelta(seconds=one.picked_at - one.seconds),
                "picked_at": START + timedelta(seconds=one.picked_at),
                "response_ms": round(1000 * one.seconds),
            }
            for index, one in enumerate(played)
        ],
    )


@dataclass(frozen=True)
class Played:
    """An answered round; `left` and `right` name models."""

    picked_at: float
    seconds: float
    pick: str
    number: int = 1
    left: str = "m"
    right: str = "m"
    incumbent: str | None = None
    gold: str | None = None


def add_hasty(connection: Connection, answers: int = 12) -> int:
    """Add a person who answered every 0.3 s, and return them."""
    user = add_user(connection)
    duel = add_duel(connection, user)
    played = [
        Played(0.3 * number, 0.3, "left" if number % 2 else "right", number)
        for number in range(1, answers + 1)
    ]
    add_rounds(connection, user, duel, played, add_images(connection, duel, user, ["m"]))
    return user


def _next(connection: Connection, table) -> int:
    return (connection.execute(select(func.max(table.c.id))).scalar() or 0) + 1
