"""What moderators and admins look at and decide."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from pickapic.collect.tables.columns import METADATA, Instant, Key, key, reference

prompt_reviews = Table(
    "prompt_reviews",
    METADATA,
    key(),
    Column("uid", String(32), nullable=False, unique=True),
    reference("user_id", "users"),
    Column("typed", Text, nullable=False),
    Column("digest", LargeBinary(32), nullable=False),  # SHA-256 of the prompt as the filter reads it
    Column("reasons", Text, nullable=False),  # JSON
    Column("state", String(16), nullable=False),  # waiting, approved, refused
    Column("created_at", Instant, nullable=False),
    reference("decided_by", "users", nullable=True),
    Column("decided_at", Instant),
    Index(None, "state", "id"),
    Index(None, "digest"),
    comment="Prompts in the grey zone. An approved one is free for everybody from then on.",
)

reports = Table(
    "reports",
    METADATA,
    key(),
    Column("uid", String(32), nullable=False, unique=True),
    reference("image_id", "images"),
    reference("user_id", "users"),
    Column("reason", String(32), nullable=False),
    Column("note", Text, nullable=False),
    Column("state", String(16), nullable=False),  # open, upheld, dismissed
    Column("created_at", Instant, nullable=False),
    reference("decided_by", "users", nullable=True),
    Column("decided_at", Instant),
    UniqueConstraint("image_id", "user_id"),
    Index(None, "state", "id"),
    comment="Images that somebody found unfit.",
)

blocked_images = Table(
    "blocked_images",
    METADATA,
    key(),
    Column("phash", BigInteger, nullable=False, unique=True),
    Column("reason", Text, nullable=False),
    reference("added_by", "users", nullable=True),
    Column("added_at", Instant, nullable=False),
    comment="Perceptual hashes of images that are never shown again.",
)

decisions = Table(
    "decisions",
    METADATA,
    key(),
    Column("at", Instant, nullable=False),
    reference("actor_id", "users", nullable=True),  # none: the command line
    Column("action", String(32), nullable=False),
    Column("target_kind", String(32), nullable=False),
    Column("target", String(128), nullable=False),
    Column("reason", Text, nullable=False),
    Index(None, "target_kind", "target"),
    comment="Who decided what, when and why; only ever added to.",
)

generator_states = Table(
    "generator_states",
    METADATA,
    Column("name", String(128), primary_key=True),
    Column("enabled", Boolean, nullable=False),
    Column("weight", Float),  # none: that of the settings
    Column("changed_at", Instant, nullable=False),
    reference("changed_by", "users", nullable=True),
    comment="What admins changed about the generators of the settings.",
)

gold_pairs = Table(
    "gold_pairs",
    METADATA,
    key(),
    Column("uid", String(32), nullable=False, unique=True),
    Column("caption", Text, nullable=False),
    Column("better_sha256", String(64), nullable=False),
    Column("worse_sha256", String(64), nullable=False),
    Column("state", String(16), nullable=False),  # active, retired
    reference("added_by", "users", nullable=True),
    Column("added_at", Instant, nullable=False),
    Index(None, "state"),
    comment="Pairs whose better image is known, from an admin's list.",
)

shares = Table(
    "shares",
    METADATA,
    key(),
    Column("token", String(32), nullable=False, unique=True),
    Column("image_id", Key, nullable=False, unique=True),
    reference("user_id", "users"),
    Column("created_at", Instant, nullable=False),
    comment="Images that their user made public by a link.",
)

downloads = Table(
    "downloads",
    METADATA,
    key(),
    reference("image_id", "images"),
    reference("user_id", "users"),
    Column("at", Instant, nullable=False),
    Index(None, "image_id"),
    comment="Which images people kept.",
)
