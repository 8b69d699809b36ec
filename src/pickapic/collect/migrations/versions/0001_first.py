"""The first tables: users, sessions, duels, rounds, images and the queue."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from pickapic.collect.tables import Instant, Key

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "queue",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("virtual_time", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_queue")),
        comment="One row: how far the queue has been served, in virtual time.",
    )
    op.create_table(
        "users",
        sa.Column("id", Key, autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("role", sa.String(length=16), server_default="person", nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("deleted_at", Instant, nullable=True),
        sa.Column("virtual_time", sa.Float(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        comment="A person. The id is the dataset's user_id; nothing here says who it is.",
    )
    op.create_table(
        "duels",
        sa.Column("id", Key, autoincrement=True, nullable=False),
        sa.Column("uid", sa.String(length=32), nullable=False),
        sa.Column("user_id", Key, nullable=False),
        sa.Column("typed", sa.Text(), nullable=False),
        sa.Column("caption", sa.Text(), nullable=False),
        sa.Column("negative_prompt", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("closed_at", Instant, nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_duels_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_duels")),
        sa.UniqueConstraint("uid", name=op.f("uq_duels_uid")),
        comment="One prompt of one user, and the rounds that follow from it.",
    )
    op.create_index(op.f("ix_duels_user_id_created_at"), "duels", ["user_id", "created_at"], unique=False)
    op.create_table(
        "sessions",
        sa.Column("id", Key, autoincrement=True, nullable=False),
        sa.Column("token_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("user_id", Key, nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("expires_at", Instant, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_sessions_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_sessions_token_hash")),
        comment="A signed-in browser; only the SHA-256 of its cookie is kept.",
    )
    op.create_index(op.f("ix_sessions_user_id"), "sessions", ["user_id"], unique=False)
    op.create_table(
        "jobs",
        sa.Column("id", Key, autoincrement=True, nullable=False),
        sa.Column("duel_id", Key, nullable=False),
        sa.Column("user_id", Key, nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("virtual_time", sa.Float(), nullable=False),
        sa.Column("generator", sa.String(length=128), nullable=False),
        sa.Column("prompt", sa.Text(), nullable=False),
        sa.Column("negative_prompt", sa.Text(), nullable=False),
        sa.Column("guidance_scale", sa.Float(), nullable=False),
        sa.Column("steps", sa.Integer(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("not_before", Instant, nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("worker", sa.String(length=64), nullable=True),
        sa.Column("leased_at", Instant, nullable=True),
        sa.Column("lease_until", Instant, nullable=True),
        sa.Column("finished_at", Instant, nullable=True),
        sa.Column("seconds", sa.Float(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["duel_id"], ["duels.id"], name=op.f("fk_jobs_duel_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_jobs_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        comment="One image to be made.",
    )
    op.create_index(
        "ix_jobs_dead",
        "jobs",
        ["id"],
        unique=False,
        sqlite_where=sa.text("state = 'dead'"),
        postgresql_where=sa.text("state = 'dead'"),
    )
    op.create_index("ix_jobs_duel_id_state", "jobs", ["duel_id", "state"], unique=False)
    op.create_index("ix_jobs_finished_at", "jobs", ["finished_at"], unique=False)
    op.create_index(
        "ix_jobs_lease_until",
        "jobs",
        ["lease_until"],
        unique=False,
        sqlite_where=sa.text("state = 'leased'"),
        postgresql_where=sa.text("state = 'leased'"),
    )
    op.create_index(
        "ix_jobs_order",
        "jobs",
        ["priority", "virtual_time", "id"],
        unique=False,
        sqlite_where=sa.text("state = 'queued'"),
        postgresql_where=sa.text("state = 'queued'"),
    )
    op.create_table(
        "images",
        sa.Column("id", Key, autoincrement=True, nullable=False),
        sa.Column("uid", sa.String(length=36), nullable=False),
        sa.Column("token", sa.String(length=32), nullable=False),
        sa.Column("duel_id", Key, nullable=False),
        sa.Column("job_id", Key, nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("model", sa.String(length=128), nullable=False),
        sa.Column("prompt", sa.Text(), nullable=False),
        sa.Column("negative_prompt", sa.Text(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("guidance_scale", sa.Float(), nullable=True),
        sa.Column("steps", sa.Integer(), nullable=True),
        sa.Column("scheduler", sa.String(length=64), nullable=True),
        sa.Column("created_at", Instant, nullable=False),
        sa.ForeignKeyConstraint(["duel_id"], ["duels.id"], name=op.f("fk_images_duel_id")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_images_job_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_images")),
        sa.UniqueConstraint("job_id", name=op.f("uq_images_job_id")),
        sa.UniqueConstraint("token", name=op.f("uq_images_token")),
        sa.UniqueConstraint("uid", name=op.f("uq_images_uid")),
        comment="A finished image. Its file is in the store before its row is here.",
    )
    op.create_index(op.f("ix_images_duel_id_state"), "images", ["duel_id", "state"], unique=False)
    op.create_table(
        "rounds",
        sa.Column("id", Key, autoincrement=True, nullable=False),
        sa.Column("uid", sa.String(length=32), nullable=False),
        sa.Column("duel_id", Key, nullable=False),
        sa.Column("user_id", Key, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("left_image_id", Key, nullable=False),
        sa.Column("right_image_id", Key, nullable=False),
        sa.Column("incumbent", sa.String(length=8), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("pick", sa.String(length=8), nullable=True),
        sa.Column("kept_image_id", Key, nullable=True),
        sa.Column("shown_at", Instant, nullable=False),
        sa.Column("picked_at", Instant, nullable=True),
        sa.Column("response_ms", sa.Integer(), nullable=True),
        sa.Column("undos", sa.Integer(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["duel_id"], ["duels.id"], name=op.f("fk_rounds_duel_id")),
        sa.ForeignKeyConstraint(["kept_image_id"], ["images.id"], name=op.f("fk_rounds_kept_image_id")),
        sa.ForeignKeyConstraint(["left_image_id"], ["images.id"], name=op.f("fk_rounds_left_image_id")),
        sa.ForeignKeyConstraint(["right_image_id"], ["images.id"], name=op.f("fk_rounds_right_image_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_rounds_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rounds")),
        sa.UniqueConstraint("uid", name=op.f("uq_rounds_uid")),
        comment="Two images shown, and the answer. The id is the dataset's ranking_id.",
    )
    op.create_index(op.f("ix_rounds_duel_id_number"), "rounds", ["duel_id", "number"], unique=False)
    op.create_index("ix_rounds_picked_at", "rounds", ["picked_at"], unique=False)
    op.create_index(op.f("ix_rounds_user_id_picked_at"), "rounds", ["user_id", "picked_at"], unique=False)


def downgrade() -> None:
    """Drop them."""
    op.drop_index(op.f("ix_rounds_user_id_picked_at"), table_name="rounds")
    op.drop_index("ix_rounds_picked_at", table_name="rounds")
    op.drop_index(op.f("ix_rounds_duel_id_number"), table_name="rounds")
    op.drop_table("rounds")
    op.drop_index(op.f("ix_images_duel_id_state"), table_name="images")
    op.drop_table("images")
    op.drop_index(
        "ix_jobs_order",
        table_name="jobs",
        sqlite_where=sa.text("state = 'queued'"),
        postgresql_where=sa.text("state = 'queued'"),
    )
    op.drop_index(
        "ix_jobs_lease_until",
        table_name="jobs",
        sqlite_where=sa.text("state = 'leased'"),
        postgresql_where=sa.text("state = 'leased'"),
    )
    op.drop_index("ix_jobs_finished_at", table_name="jobs")
    op.drop_index("ix_jobs_duel_id_state", table_name="jobs")
    op.drop_index(
        "ix_jobs_dead",
        table_name="jobs",
        sqlite_where=sa.text("state = 'dead'"),
        postgresql_where=sa.text("state = 'dead'"),
    )
    op.drop_table("jobs")
    op.drop_index(op.f("ix_sessions_user_id"), table_name="sessions")
    op.drop_table("sessions")
    op.drop_index(op.f("ix_duels_user_id_created_at"), table_name="duels")
    op.drop_table("duels")
    op.drop_table("users")
    op.drop_table("queue")
