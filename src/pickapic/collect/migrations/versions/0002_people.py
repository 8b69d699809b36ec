"""Accounts, consent, risk, moderation, gold rounds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from pickapic.collect.tables import Instant, Key

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the new tables and columns; what is there keeps its meaning by the columns' defaults."""
    op.create_table(
        "blocked_images",
        sa.Column("id", Key, autoincrement=True, nullable=False),
        sa.Column("phash", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("added_by", Key, nullable=True),
        sa.Column("added_at", Instant, nullable=False),
        sa.ForeignKeyConstraint(["added_by"], ["users.id"], name=op.f("fk_blocked_images_added_by")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_blocked_images")),
        sa.UniqueConstraint("phash", name=op.f("uq_blocked_images_phash")),
        comment="Perceptual hashes of images that are never shown again.",
    )
    op.create_table(
        "consents",
        sa.Column("id", Key, autoincrement=True, nullable=False),
        sa.Column("user_id", Key, nullable=False),
        sa.Column("version", sa.String(length=32), nullable=False),
        sa.Column("given_at", Instant, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_consents_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_consents")),
        sa.UniqueConstraint("user_id", "version", name=op.f("uq_consents_user_id_version")),
        comment="Which versions of the terms a user agreed to.",
    )
    op.create_table(
        "decisions",
        sa.Column("id", Key, autoincrement=True, nullable=False),
        sa.Column("at", Instant, nullable=False),
        sa.Column("actor_id", Key, nullable=True),
        sa.Column("action", sa.String(length=32), nullable=False),
        sa.Column("target_kind", sa.String(length=32), nullable=False),
        sa.Column("target", sa.String(length=128), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["actor_id"], ["users.id"], name=op.f("fk_decisions_actor_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decisions")),
        comment="Who decided what, when and why; only ever added to.",
    )
    op.create_index(
        op.f("ix_decisions_target_kind_target"), "decisions", ["target_kind", "target"], unique=False
    )
    op.create_table(
        "generator_states",
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("weight", sa.Float(), nullable=True),
        sa.Column("changed_at", Instant, nullable=False),
        sa.Column("changed_by", Key, nullable=True),
        sa.ForeignKeyConstraint(["changed_by"], ["users.id"], name=op.f("fk_generator_states_changed_by")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_generator_states")),
        comment="What admins changed about the generators of the settings.",
    )
    op.create_table(
        "gold_pairs",
        sa.Column("id", Key, autoincrement=True, nullable=False),
        sa.Column("uid", sa.String(length=32), nullable=False),
        sa.Column("caption", sa.Text(), nullable=False),
        sa.Column("better_sha256", sa.String(length=64), nullable=False),
        sa.Column("worse_sha256", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("added_by", Key, nullable=True),
        sa.Column("added_at", Instant, nullable=False),
        sa.ForeignKeyConstraint(["added_by"], ["users.id"], name=op.f("fk_gold_pairs_added_by")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gold_pairs")),
        sa.UniqueConstraint("uid", name=op.f("uq_gold_pairs_uid")),
        comment="Pairs whose better image is known, from an admin's list.",
    )
    op.create_index(op.f("ix_gold_pairs_state"), "gold_pairs", ["state"], unique=False)
    op.create_table(
        "identities",
        sa.Column("id", Key, autoincrement=True, nullable=False),
        sa.Column("user_id", Key, nullable=False),
        sa.Column("provider", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("email_hash", sa.LargeBinary(length=32), nullable=True),
        sa.Column("linked_at", Instant, nullable=False),
        sa.Column("seen_at", Instant, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_identities_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identities")),
        sa.UniqueConstraint("provider", "subject", name=op.f("uq_identities_provider_subject")),
        comment="Who vouches for a user: one row a provider.",
    )
    op.create_index(op.f("ix_identities_email_hash"), "identities", ["email_hash"], unique=False)
    op.create_index(op.f("ix_identities_user_id"), "identities", ["user_id"], unique=False)
    op.create_table(
        "links",
        sa.Column("id", Key, autoincrement=True, nullable=False),
        sa.Column("token_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("browser_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("provider", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("email_hash", sa.LargeBinary(length=32), nullable=True),
        sa.Column("user_id", Key, nullable=False),
        sa.Column("next_path", sa.Text(), nullable=False),
        sa.Column("expires_at", Instant, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_links_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_links")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_links_token_hash")),
        comment="A new identity that may belong to a known user: waits for that user to say so.",
    )
    op.create_index(op.f("ix_links_expires_at"), "links", ["expires_at"], unique=False)
    op.create_table(
        "marks",
        sa.Column("id", Key, autoincrement=True, nullable=False),
        sa.Column("user_id", Key, nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("first_at", Instant, nullable=False),
        sa.Column("last_at", Instant, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_marks_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_marks")),
        sa.UniqueConstraint("user_id", "kind", "digest", name=op.f("uq_marks_user_id_kind_digest")),
        comment="Hashes by which double accounts are found; swept after mark_days.",
    )
    op.create_index(op.f("ix_marks_kind_digest"), "marks", ["kind", "digest"], unique=False)
    op.create_index(op.f("ix_marks_last_at"), "marks", ["last_at"], unique=False)
    op.create_table(
        "prompt_reviews",
        sa.Column("id", Key, autoincrement=True, nullable=False),
        sa.Column("uid", sa.String(length=32), nullable=False),
        sa.Column("user_id", Key, nullable=False),
        sa.Column("typed", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("reasons", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("decided_by", Key, nullable=True),
        sa.Column("decided_at", Instant, nullable=True),
        sa.ForeignKeyConstraint(["decided_by"], ["users.id"], name=op.f("fk_prompt_reviews_decided_by")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_prompt_reviews_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_prompt_reviews")),
        sa.UniqueConstraint("uid", name=op.f("uq_prompt_reviews_uid")),
        comment="Prompts in the grey zone. An approved one is free for everybody from then on.",
    )
    op.create_index(op.f("ix_prompt_reviews_digest"), "prompt_reviews", ["digest"], unique=False)
    op.create_index(op.f("ix_prompt_reviews_state_id"), "prompt_reviews", ["state", "id"], unique=False)
    op.create_table(
        "risks",
        sa.Column("user_id", Key, autoincrement=False, nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.Column("reasons", sa.Text(), nullable=False),
        sa.Column("picks", sa.Integer(), nullable=False),
        sa.Column("policy", sa.String(length=16), nullable=False),
        sa.Column("computed_at", Instant, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_risks_user_id")),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_risks")),
        comment="How far a user's picks are to be doubted, and why.",
    )
    op.create_index(op.f("ix_risks_score"), "risks", ["score"], unique=False)
    op.create_table(
        "shares",
        sa.Column("id", Key, autoincrement=True, nullable=False),
        sa.Column("token", sa.String(length=32), nullable=False),
        sa.Column("image_id", Key, nullable=False),
        sa.Column("user_id", Key, nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_shares_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shares")),
        sa.UniqueConstraint("image_id", name=op.f("uq_shares_image_id")),
        sa.UniqueConstraint("token", name=op.f("uq_shares_token")),
        comment="Images that their user made public by a link.",
    )
    op.create_table(
        "sign_ins",
        sa.Column("id", Key, autoincrement=True, nullable=False),
        sa.Column("state_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("browser_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("provider", sa.String(length=32), nullable=False),
        sa.Column("code_verifier", sa.String(length=128), nullable=False),
        sa.Column("nonce", sa.String(length=64), nullable=False),
        sa.Column("next_path", sa.Text(), nullable=False),
        sa.Column("user_id", Key, nullable=True),
        sa.Column("expires_at", Instant, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_sign_ins_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sign_ins")),
        sa.UniqueConstraint("state_hash", name=op.f("uq_sign_ins_state_hash")),
        comment="Sign-ins on their way to a provider and back; each is used once.",
    )
    op.create_index(op.f("ix_sign_ins_expires_at"), "sign_ins", ["expires_at"], unique=False)
    op.create_table(
        "downloads",
        sa.Column("id", Key, autoincrement=True, nullable=False),
        sa.Column("image_id", Key, nullable=False),
        sa.Column("user_id", Key, nullable=False),
        sa.Column("at", Instant, nullable=False),
        sa.ForeignKeyConstraint(["image_id"], ["images.id"], name=op.f("fk_downloads_image_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_downloads_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_downloads")),
        comment="Which images people kept.",
    )
    op.create_index(op.f("ix_downloads_image_id"), "downloads", ["image_id"], unique=False)
    op.create_table(
        "reports",
        sa.Column("id", Key, autoincrement=True, nullable=False),
        sa.Column("uid", sa.String(length=32), nullable=False),
        sa.Column("image_id", Key, nullable=False),
        sa.Column("user_id", Key, nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("decided_by", Key, nullable=True),
        sa.Column("decided_at", Instant, nullable=True),
        sa.ForeignKeyConstraint(["decided_by"], ["users.id"], name=op.f("fk_reports_decided_by")),
        sa.ForeignKeyConstraint(["image_id"], ["images.id"], name=op.f("fk_reports_image_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_reports_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reports")),
        sa.UniqueConstraint("image_id", "user_id", name=op.f("uq_reports_image_id_user_id")),
        sa.UniqueConstraint("uid", name=op.f("uq_reports_uid")),
        comment="Images that somebody found unfit.",
    )
    op.create_index(op.f("ix_reports_state_id"), "reports", ["state", "id"], unique=False)
    op.add_column("duels", sa.Column("image_width", sa.Integer(), nullable=True))
    op.add_column("duels", sa.Column("image_height", sa.Integer(), nullable=True))
    op.add_column(
        "images", sa.Column("origin", sa.String(length=16), server_default="generated", nullable=False)
    )
    op.add_column("images", sa.Column("role", sa.String(length=8), nullable=True))
    op.add_column("images", sa.Column("source_image_id", Key, nullable=True))
    op.add_column("images", sa.Column("fetched_at", Instant, nullable=True))
    op.add_column("images", sa.Column("phash", sa.BigInteger(), nullable=True))
    op.add_column("images", sa.Column("unfit", sa.Float(), nullable=True))
    op.add_column("images", sa.Column("flag", sa.String(length=32), nullable=True))
    op.add_column("images", sa.Column("hidden_at", Instant, nullable=True))
    op.add_column("jobs", sa.Column("kind", sa.String(length=8), server_default="generate", nullable=False))
    op.add_column("jobs", sa.Column("source_image_id", Key, nullable=True))
    op.add_column("jobs", sa.Column("gold_pair_id", Key, nullable=True))
    op.add_column("jobs", sa.Column("role", sa.String(length=8), nullable=True))
    op.add_column("rounds", sa.Column("gold", sa.String(length=8), nullable=True))
    op.add_column("rounds", sa.Column("gold_pair_id", Key, nullable=True))
    op.add_column("rounds", sa.Column("session_key", Key, nullable=True))
    op.add_column("sessions", sa.Column("uid", sa.String(length=32), nullable=True))
    op.add_column("sessions", sa.Column("seen_at", Instant, nullable=True))
    op.add_column("sessions", sa.Column("renewed_at", Instant, nullable=True))
    op.add_column("sessions", sa.Column("replaced_by", Key, nullable=True))
    op.add_column("sessions", sa.Column("replaced_at", Instant, nullable=True))
    op.add_column("sessions", sa.Column("label", sa.String(length=64), server_default="", nullable=False))
    op.create_index("ix_sessions_uid", "sessions", ["uid"], unique=True)
    op.add_column("users", sa.Column("status", sa.String(length=16), server_default="active", nullable=False))
    op.add_column("users", sa.Column("allowance", sa.Integer(), nullable=True))


def downgrade() -> None:
    """Drop them, with all that they hold."""
    op.drop_column("users", "allowance")
    op.drop_column("users", "status")
    op.drop_index("ix_sessions_uid", table_name="sessions")
    op.drop_column("sessions", "label")
    op.drop_column("sessions", "replaced_at")
    op.drop_column("sessions", "replaced_by")
    op.drop_column("sessions", "renewed_at")
    op.drop_column("sessions", "seen_at")
    op.drop_column("sessions", "uid")
    op.drop_column("rounds", "session_key")
    op.drop_column("rounds", "gold_pair_id")
    op.drop_column("rounds", "gold")
    op.drop_column("jobs", "role")
    op.drop_column("jobs", "gold_pair_id")
    op.drop_column("jobs", "source_image_id")
    op.drop_column("jobs", "kind")
    op.drop_column("images", "hidden_at")
    op.drop_column("images", "flag")
    op.drop_column("images", "unfit")
    op.drop_column("images", "phash")
    op.drop_column("images", "fetched_at")
    op.drop_column("images", "source_image_id")
    op.drop_column("images", "role")
    op.drop_column("images", "origin")
    op.drop_column("duels", "image_height")
    op.drop_column("duels", "image_width")
    op.drop_index(op.f("ix_reports_state_id"), table_name="reports")
    op.drop_table("reports")
    op.drop_index(op.f("ix_downloads_image_id"), table_name="downloads")
    op.drop_table("downloads")
    op.drop_index(op.f("ix_sign_ins_expires_at"), table_name="sign_ins")
    op.drop_table("sign_ins")
    op.drop_table("shares")
    op.drop_index(op.f("ix_risks_score"), table_name="risks")
    op.drop_table("risks")
    op.drop_index(op.f("ix_prompt_reviews_state_id"), table_name="prompt_reviews")
    op.drop_index(op.f("ix_prompt_reviews_digest"), table_name="prompt_reviews")
    op.drop_table("prompt_reviews")
    op.drop_index(op.f("ix_marks_last_at"), table_name="marks")
    op.drop_index(op.f("ix_marks_kind_digest"), table_name="marks")
    op.drop_table("marks")
    op.drop_index(op.f("ix_links_expires_at"), table_name="links")
    op.drop_table("links")
    op.drop_index(op.f("ix_identities_user_id"), table_name="identities")
    op.drop_index(op.f("ix_identities_email_hash"), table_name="identities")
    op.drop_table("identities")
    op.drop_index(op.f("ix_gold_pairs_state"), table_name="gold_pairs")
    op.drop_table("gold_pairs")
    op.drop_table("generator_states")
    op.drop_index(op.f("ix_decisions_target_kind_target"), table_name="decisions")
    op.drop_table("decisions")
    op.drop_table("consents")
    op.drop_table("blocked_images")
