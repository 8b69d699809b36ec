"""Everything that is kept of a person, each kind with its purpose: what `GET /me/export` gives them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from pickapic.collect.people import consents, identities, marks, sessions
from pickapic.collect.states import ANSWERED, SHOWN, SKIPPED
from pickapic.collect.tables import (
    downloads,
    duels,
    images,
    prompt_reviews,
    reports,
    risks,
    rounds,
    shares,
    users,
)

Entry = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Belonging:
    """One kind of things kept of a person: file `name`.json of the export."""

    name: str
    purpose: str
    entries: tuple[Entry, ...]

    def json(self) -> str:
        """Return it as the text of its file."""
        content = {"purpose": self.purpose, self.name: self.entries}
        return json.dumps(content, indent=2, ensure_ascii=False, default=_plain)


def belongings(connection: Connection, user_id: int, now: datetime) -> list[Belonging]:
    """Return all that is kept of a user: no hash, since it would say nothing, and no model, since duels may be open."""
    return [
        Belonging("account", "To know you again when you come back.", (_account(connection, user_id),)),
        Belonging(
            "identities",
            "Which providers vouch for you. Of your address there only a hash is kept, to find an account of yours.",
            tuple(
                {"provider": one.provider, "linked_at": one.linked_at, "seen_at": one.seen_at}
                for one in identities.of_user(connection, user_id)
            ),
        ),
        Belonging(
            "consents",
            "To know which terms you have agreed to.",
            tuple(
                {"version": one.version, "given_at": one.given_at}
                for one in consents.given(connection, user_id)
            ),
        ),
        Belonging(
            "sessions",
            "The browsers you are signed in with, so that you can sign them out.",
            tuple(
                {"browser": one.label, "created_at": one.created_at, "seen_at": one.seen_at}
                for one in sessions.browsers(connection, user_id, now)
            ),
        ),
        Belonging(
            "marks",
            "Hashes of your address and device, by which double accounts are found; deleted after some weeks.",
            tuple(
                {"kind": one.kind, "first_at": one.first_at, "last_at": one.last_at}
                for one in marks.of_user(connection, user_id)
            ),
        ),
        Belonging(
            "prompts",
            "What you asked for: it is published with your picks, without the parts in [brackets].",
            tuple(_prompts(connection, user_id)),
        ),
        Belonging(
            "reviews",
            "Prompts of yours that a moderator was asked about.",
            tuple(_reviews(connection, user_id)),
        ),
        Belonging(
            "picks",
            "Your answers: they are published under your number, rank models and train PickScore.",
            tuple(_picks(connection, user_id)),
        ),
        Belonging("images", "The images you were shown.", tuple(_images(connection, user_id))),
        Belonging(
            "reports",
            "Images you reported, so that a moderator looks at them.",
            tuple(_on_images(connection, reports, user_id, "created_at", "reason", "note", "state")),
        ),
        Belonging(
            "downloads",
            "Images you downloaded: counted, to see which are liked.",
            tuple(_on_images(connection, downloads, user_id, "at")),
        ),
        Belonging(
            "shares",
            "Images you made public by a link.",
            tuple(_on_images(connection, shares, user_id, "created_at", "token")),
        ),
        Belonging(
            "trust",
            "How far your picks are to be doubted, by your habits; doubtful picks are left out of the dataset.",
            tuple(_trust(connection, user_id)),
        ),
    ]


def image_files(connection: Connection, user_id: int) -> list[str]:
    """Return the files (by SHA-256) of the images that a user was shown, each once."""
    rows = connection.execute(_shown(user_id).with_only_columns(images.c.sha256).distinct())
    return sorted(rows.scalars())


def _account(connection: Connection, user_id: int) -> Entry:
    row = connection.execute(select(users).where(users.c.id == user_id)).one()
    return {
        "user_id": row.id,
        "kind": row.kind,
        "role": row.role,
        "status": row.status,
        "created_at": row.created_at,
    }


def _prompts(connection: Connection, user_id: int) -> Iterator[Entry]:
    rows = connection.execute(select(duels).where(duels.c.user_id == user_id).order_by(duels.c.id))
    for row in rows:
        yield {
            "duel_id": row.uid,
            "typed": row.typed,
            "caption": row.caption,
            "negative_prompt": row.negative_prompt,
            "state": row.state,
            "created_at": row.created_at,
            "closed_at": row.closed_at,
        }


def _reviews(connection: Connection, user_id: int) -> Iterator[Entry]:
    rows = connection.execute(
        select(prompt_reviews).where(prompt_reviews.c.user_id == user_id).order_by(prompt_reviews.c.id)
    )
    for row in rows:
        yield {"typed": row.typed, "state": row.state, "created_at": row.created_at}


def _picks(connection: Connection, user_id: int) -> Iterator[Entry]:
    left, right = images.alias("l"), images.alias("r")
    rows = connection.execute(
        select(
            duels.c.uid,
            duels.c.typed,
            rounds.c.number,
            rounds.c.state,
            rounds.c.pick,
            rounds.c.shown_at,
            rounds.c.picked_at,
            rounds.c.response_ms,
            left.c.sha256.label("left_sha256"),
            right.c.sha256.label("right_sha256"),
        )
        .select_from(rounds)
        .join(duels, duels.c.id == rounds.c.duel_id)
        .join(left, left.c.id == rounds.c.left_image_id)
        .join(right, right.c.id == rounds.c.right_image_id)
        .where(rounds.c.user_id == user_id, rounds.c.state.in_((ANSWERED, SKIPPED)))
        .order_by(rounds.c.id)
    )
    for row in rows:
        yield {
            "duel_id": row.uid,
            "prompt": row.typed,
            "round": row.number,
            "pick": row.pick if row.state == ANSWERED else row.state,
            "shown_at": row.shown_at,
            "picked_at": row.picked_at,
            "response_ms": row.response_ms,
            "left": image_path(row.left_sha256),
            "right": image_path(row.right_sha256),
        }


def _shown(user_id: int) -> Any:
    return (
        select(images)
        .join(duels, duels.c.id == images.c.duel_id)
        .where(duels.c.user_id == user_id, images.c.state == SHOWN)
    )


def _images(connection: Connection, user_id: int) -> Iterator[Entry]:
    for row in connection.execute(_shown(user_id).order_by(images.c.id)):
        yield {"file": image_path(row.sha256), "prompt": row.prompt, "created_at": row.created_at}


def _on_images(connection: Connection, table: Any, user_id: int, *columns: str) -> Iterator[Entry]:
    rows = connection.execute(
        select(images.c.sha256, *(table.c[name] for name in columns))
        .select_from(table)
        .join(images, images.c.id == table.c.image_id)
        .where(table.c.user_id == user_id)
        .order_by(table.c.id)
    )
    for key, *values in rows:
        yield {"image": image_path(key), **dict(zip(columns, values, strict=True))}


def _trust(connection: Connection, user_id: int) -> Iterator[Entry]:
    for row in connection.execute(select(risks).where(risks.c.user_id == user_id)):
        yield {
            "risk": row.score,
            "reasons": json.loads(row.reasons),
            "picks": row.picks,
            "computed_at": row.computed_at,
        }


def image_path(key: str) -> str:
    """Return where in the export the image file of a SHA-256 lies."""
    return f"images/{key}.jpg"


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no place in an export")
