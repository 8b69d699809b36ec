"""The queue of images to be made."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, Index, Integer, String, Table, Text, text

from pickapic.collect.tables.columns import METADATA, Instant, Key, key, reference

jobs = Table(
    "jobs",
    METADATA,
    key(),
    reference("duel_id", "duels"),
    reference("user_id", "users"),
    Column("state", String(16), nullable=False),  # queued, leased, done, cancelled, dead, refused
    Column("priority", Integer, nullable=False),  # 0: the round on screen waits for it; 1: made ahead
    Column("virtual_time", Float, nullable=False),
    Column("kind", String(8), nullable=False, server_default="generate"),  # generate, corrupt, gold
    Column("source_image_id", Key),  # corrupt: the image to spoil
    Column("gold_pair_id", Key),  # gold: the pair of an admin's list to show in this duel
    Column("role", String(8)),  # corrupt, gold: better, worse
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
    Index(
        "ix_jobs_refused",
        "id",
        sqlite_where=text("state = 'refused'"),
        postgresql_where=text("state = 'refused'"),
    ),
    Index("ix_jobs_duel_id_state", "duel_id", "state"),
    Index(
        "ix_jobs_user_id_priority",
        "user_id",
        "priority",
        "virtual_time",
        sqlite_where=text("state IN ('queued', 'leased')"),
        postgresql_where=text("state IN ('queued', 'leased')"),
    ),
    Index("ix_jobs_finished_at", "finished_at"),
    comment="One image to be made.",
)

queue = Table(
    "queue",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("virtual_time", Float, nullable=False),  # of images that screens wait for
    Column("ahead_time", Float, nullable=False, server_default="0"),  # of images made ahead
    Column("passed", Integer, nullable=False, server_default="0"),  # leased for screens since one made ahead
    comment="One row: how far the queue has been served, in virtual time.",
)
