"""The machines that make images, and the generators that they reach."""

from __future__ import annotations

from sqlalchemy import Column, Integer, LargeBinary, String, Table, Text

from pickapic.collect.tables.columns import METADATA, Instant, Key, key, reference

tokens = Table(
    "tokens",
    METADATA,
    key(),
    Column("uid", String(32), nullable=False, unique=True),  # names it in lists; opens nothing
    Column("token_hash", LargeBinary(32), nullable=False, unique=True),
    Column("kind", String(16), nullable=False),  # worker, score
    Column("label", String(64), nullable=False),
    reference("created_by", "users", nullable=True),  # none: the command line
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant),  # none: never
    Column("used_at", Instant),
    Column("revoked_at", Instant),
    comment="What machines show instead of a session; only the SHA-256 is kept.",
)

workers = Table(
    "workers",
    METADATA,
    Column("name", String(64), primary_key=True),
    Column("token_id", Key),  # of a worker that comes over HTTPS; none: one with the database
    Column("generators", Text, nullable=False),  # JSON: the names that it makes
    Column("rooms", Text),  # JSON: [[names, how many images at once], ...]: which of them take turns
    Column("started_at", Instant, nullable=False),
    Column("seen_at", Instant, nullable=False),
    comment="Workers that were heard of lately.",
)

breakers = Table(
    "breakers",
    METADATA,
    Column("name", String(128), primary_key=True),  # of the generator
    Column("failures", Integer, nullable=False),  # in a row
    Column("since", Instant, nullable=False),  # the first of them
    Column("benched_until", Instant),  # none: it is drawn
    Column("error", Text, nullable=False),  # the last
    Column("failed_at", Instant, nullable=False),
    comment="Generators whose provider failed lately; no row: all is well.",
)
