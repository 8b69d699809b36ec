"""Workers on other machines, generators that fail, and what providers really did."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from pickapic.collect.tables import Instant, Key

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_PENDING = "state IN ('queued', 'leased')"
CONCURRENTLY = {
    "ix_jobs_user_id_priority": f"jobs (user_id, priority, virtual_time) WHERE {_PENDING}",
    "ix_jobs_refused": "jobs (id) WHERE state = 'refused'",
    "ix_images_sha256": "images (sha256)",
    "ix_rounds_left_image_id": "rounds (left_image_id)",
    "ix_rounds_right_image_id": "rounds (right_image_id)",
    "ix_rounds_kept_image_id": "rounds (kept_image_id)",
    "ix_rounds_gold_pair_id": "rounds (gold_pair_id) WHERE gold_pair_id IS NOT NULL",
}
"""Indexes of large tables: PostgreSQL makes them beforehand, while people pick (see schema.py)."""


def upgrade() -> None:
    """Make the new tables and columns; of images made before, what is new stays unknown."""
    op.create_table(
        "tokens",
        sa.Column("id", Key, autoincrement=True, nullable=False),
        sa.Column("uid", sa.String(length=32), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("label", sa.String(length=64), nullable=False),
        sa.Column("created_by", Key, nullable=True),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("expires_at", Instant, nullable=True),
        sa.Column("used_at", Instant, nullable=True),
        sa.Column("revoked_at", Instant, nullable=True),
        sa.ForeignKeyConstraint(["created_by"], ["users.id"], name=op.f("fk_tokens_created_by")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tokens")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_tokens_token_hash")),
        sa.UniqueConstraint("uid", name=op.f("uq_tokens_uid")),
        comment="What machines show instead of a session; only the SHA-256 is kept.",
    )
    op.create_table(
        "workers",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("token_id", Key, nullable=True),
        sa.Column("generators", sa.Text(), nullable=False),
        sa.Column("rooms", sa.Text(), nullable=True),
        sa.Column("started_at", Instant, nullable=False),
        sa.Column("seen_at", Instant, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_workers")),
        comment="Workers that were heard of lately.",
    )
    op.create_table(
        "breakers",
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("since", Instant, nullable=False),
        sa.Column("benched_until", Instant, nullable=True),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("failed_at", Instant, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_breakers")),
        comment="Generators whose provider failed lately; no row: all is well.",
    )
    op.add_column("queue", sa.Column("ahead_time", sa.Float(), server_default="0", nullable=False))
    op.add_column("queue", sa.Column("passed", sa.Integer(), server_default="0", nullable=False))
    # What waits was stamped by one clock for both classes.
    op.execute("UPDATE queue SET ahead_time = virtual_time")
    for name, of in CONCURRENTLY.items():
        op.execute(f"CREATE INDEX IF NOT EXISTS {name} ON {of}")
    if op.get_bind().dialect.name == "postgresql":
        # A job changes three times and is never deleted: a fifth of a million dead rows would stand in the way of
        # those that wait before the defaults had them cleared away.
        op.execute(
            "ALTER TABLE jobs SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000)"
        )
    op.add_column("duels", sa.Column("judged_by", sa.String(length=16), nullable=True))
    op.add_column("duels", sa.Column("refused", sa.Boolean(), nullable=True))
    op.add_column("images", sa.Column("sent", sa.Text(), nullable=True))
    op.add_column("images", sa.Column("revised_prompt", sa.Text(), nullable=True))
    op.add_column("images", sa.Column("source_sha256", sa.String(length=64), nullable=True))
    op.add_column("images", sa.Column("seconds", sa.Float(), nullable=True))


def downgrade() -> None:
    """Drop what `upgrade` made."""
    op.drop_column("images", "seconds")
    op.drop_column("images", "source_sha256")
    op.drop_column("images", "revised_prompt")
    op.drop_column("images", "sent")
    op.drop_column("duels", "refused")
    op.drop_column("duels", "judged_by")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE jobs RESET (autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold)")
    for name in CONCURRENTLY:
        op.execute(f"DROP INDEX {name}")
    op.drop_column("queue", "passed")
    op.drop_column("queue", "ahead_time")
    op.drop_table("breakers")
    op.drop_table("workers")
    op.drop_table("tokens")
