"""The tables of a collection: users, their duels, the rounds and images in them, and the queue of images to make.

All times are UTC. Every id that a browser may see is a random `uid` or `token`; the integer keys stay inside.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    text,
)

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Instant(TypeDecorator[datetime]):
    """An aware UTC datetime; SQLite, which has no time zones, stores it without one."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return `value` in UTC, naive on SQLite."""
        if value is None or dialect.name != "sqlite":
            return value
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return `value` as an aware UTC datetime."""
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


# SQLite gives a row id by itself only to a column of type INTEGER.
Key = BigInteger().with_variant(Integer(), "sqlite")


def _key() -> Column[Any]:
    return Column("id", Key, primary_key=True, autoincrement=True)


def _reference(name: str, target: str, nullable: bool = False) -> Column[Any]:
    return Column(name, Key, ForeignKey(f"{target}.id"), nullable=nullable)


users = Table(
    "users",
    METADATA,
    _key(),
    Column("kind", String(16), nullable=False),  # guest; sign-in adds its own
    Column("role", String(16), nullable=False, server_default="person"),  # person, moderator, admin
    Column("created_at", Instant, nullable=False),
    Column("deleted_at", Instant),
    Column("virtual_time", Float, nullable=False, server_default="0"),  # see jobs.py: fairness
    comment="A person. The id is the dataset's user_id; nothing here says who it is.",
)

sessions = Table(
    "sessions",
    METADATA,
    _key(),
    Column("token_hash", LargeBinary(32), nullable=False, unique=True),
    _reference("user_id", "users"),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Index(None, "user_id"),
    comment="A signed-in browser; only the SHA-256 of its cookie is kept.",
)

duels = Table(
    "duels",
    METADATA,
    _key(),
    Column("uid", String(32), nullable=False, unique=True),
    _reference("user_id", "users"),
    Column("typed", Text, nullable=False),  # exactly what the person wrote
    Column("caption", Text, nullable=False),  # without the [negative] parts: the dataset's caption
    Column("negative_prompt", Text, nullable=False),
    Column("state", String(16), nullable=False),  # open, closed, failed
    Column("message", Text),  # why it failed, in words for the page
    Column("created_at", Instant, nullable=False),
    Column("closed_at", Instant),
    Index(None, "user_id", "created_at"),
    comment="One prompt of one user, and the rounds that follow from it.",
)

jobs = Table(
    "jobs",
    METADATA,
    _key(),
    _reference("duel_id", "duels"),
    _reference("user_id", "users"),
    Column("state", String(16), nullable=False),  # queued, leased, done, cancelled, dead
    Column("priority", Integer, nullable=False),  # 0: the round on screen waits for it; 1: made ahead
    Column("virtual_time", Float, nullable=False),
    Column("generator", String(128), nullable=False),
    Column("prompt", Text, nullable=False),
    Column("negative_prompt", Text, nullable=False),
    Column("guidance_scale", Float, nullable=False),
    Column("steps", Integer, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("not_before", Instant, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("worker", String(64)),
    Column("leased_at", Instant),
    Column("lease_until", Instant),
    Column("finished_at", Instant),
    Column("seconds", Float),  # spent on generating it
    Column("error", Text),
    Index(
        "ix_jobs_order",
        "priority",
        "virtual_time",
        "id",
        sqlite_where=text("state = 'queued'"),
        postgresql_where=text("state = 'queued'"),
    ),
    Index(
        "ix_jobs_lease_until",
        "lease_until",
        sqlite_where=text("state = 'leased'"),
        postgresql_where=text("state = 'leased'"),
    ),
    Index("ix_jobs_dead", "id", sqlite_where=text("state = 'dead'"), postgresql_where=text("state = 'dead'")),
    Index("ix_jobs_duel_id_state", "duel_id", "state"),
    Index("ix_jobs_finished_at", "finished_at"),
    comment="One image to be made.",
)

queue = Table(
    "queue",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("virtual_time", Float, nullable=False),
    comment="One row: how far the queue has been served, in virtual time.",
)

images = Table(
    "images",
    METADATA,
    _key(),
    Column(
        "uid", String(36), nullable=False, unique=True
    ),  # the dataset's; unknown to a browser while its duel is open
    Column("token", String(32), nullable=False, unique=True),  # the opaque part of its address
    _reference("duel_id", "duels"),
    Column("job_id", Key, ForeignKey("jobs.id"), nullable=False, unique=True),
    Column("state", String(16), nullable=False),  # ready: in the pool; shown: in a round
    Column("sha256", String(64), nullable=False),  # of the stored file, which is also its key in the store
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("model", String(128), nullable=False),
    Column("prompt", Text, nullable=False),
    Column("negative_prompt", Text, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("guidance_scale", Float),
    Column("steps", Integer),
    Column("scheduler", String(64)),
    Column("created_at", Instant, nullable=False),
    Index(None, "duel_id", "state"),
    comment="A finished image. Its file is in the store before its row is here.",
)

rounds = Table(
    "rounds",
    METADATA,
    _key(),
    Column("uid", String(32), nullable=False, unique=True),
    _reference("duel_id", "duels"),
    _reference("user_id", "users"),
    Column("number", Integer, nullable=False),  # 1 for the first of its duel
    _reference("left_image_id", "images"),
    _reference("right_image_id", "images"),
    Column("incumbent", String(8)),  # left, right; none in a round of two new images
    Column("state", String(16), nullable=False),  # open, answered, skipped, withdrawn (by an undo before it)
    Column("pick", String(8)),  # left, right, tie
    _reference("kept_image_id", "images", nullable=True),
    Column("shown_at", Instant, nullable=False),
    Column("picked_at", Instant),
    Column("response_ms", Integer),
    Column("undos", Integer, nullable=False, server_default="0"),
    Index(None, "duel_id", "number"),
    Index(None, "user_id", "picked_at"),
    Index("ix_rounds_picked_at", "picked_at"),
    comment="Two images shown, and the answer. The id is the dataset's ranking_id.",
)
