"""People: users, how they sign in, what they agreed to, and how far their picks are trusted."""

from __future__ import annotations

from sqlalchemy import (
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from pickapic.collect.tables.columns import METADATA, Instant, Key, key, reference

users = Table(
    "users",
    METADATA,
    key(),
    Column("kind", String(16), nullable=False),  # guest, account, visitor (only the free prompt)
    Column("role", String(16), nullable=False, server_default="person"),  # person, moderator, admin
    Column("status", String(16), nullable=False, server_default="active"),  # active, banned, excluded
    Column("allowance", Integer),  # answers allowed, set by an admin; else by standing (quality.py)
    Column("created_at", Instant, nullable=False),
    Column("deleted_at", Instant),
    Column("virtual_time", Float, nullable=False, server_default="0"),  # of the past: see clocks.py
    comment="A person. The id is the dataset's user_id; nothing here says who it is.",
)

sessions = Table(
    "sessions",
    METADATA,
    key(),
    Column("token_hash", LargeBinary(32), nullable=False, unique=True),
    reference("user_id", "users"),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("uid", String(32)),  # names it in the list of a person's browsers
    Column("seen_at", Instant),
    Column("renewed_at", Instant),  # when it got its present token; none: when it began
    Column("replaced_by", Key),  # of a token beside the session's own: the session it stands for
    Column("replaced_at", Instant),  # since when such a token is the old one; none: the new one, not yet used
    Column("label", String(64), nullable=False, server_default=""),  # "Firefox on Linux"
    Index(None, "user_id"),
    Index("ix_sessions_uid", "uid", unique=True),
    comment="A signed-in browser; only the SHA-256 of its cookie is kept.",
)


identities = Table(
    "identities",
    METADATA,
    key(),
    reference("user_id", "users"),
    Column("provider", String(32), nullable=False),  # a name of the setting sign_in
    Column("subject", String(255), nullable=False),  # the provider's own id of the person
    Column("email_hash", LargeBinary(32)),  # keyed hash of the verified address; the address is not kept
    Column("linked_at", Instant, nullable=False),
    Column("seen_at", Instant, nullable=False),
    UniqueConstraint("provider", "subject"),
    Index(None, "user_id"),
    Index(None, "email_hash"),
    comment="Who vouches for a user: one row a provider.",
)

sign_ins = Table(
    "sign_ins",
    METADATA,
    key(),
    Column("state_hash", LargeBinary(32), nullable=False, unique=True),
    Column("browser_hash", LargeBinary(32), nullable=False),  # of the cookie of the browser that began
    Column("provider", String(32), nullable=False),
    Column("code_verifier", String(128), nullable=False),
    Column("nonce", String(64), nullable=False),
    Column("next_path", Text, nullable=False),
    reference("user_id", "users", nullable=True),  # who was signed in when it began
    Column("expires_at", Instant, nullable=False),
    Index(None, "expires_at"),
    comment="Sign-ins on their way to a provider and back; each is used once.",
)

links = Table(
    "links",
    METADATA,
    key(),
    Column("token_hash", LargeBinary(32), nullable=False, unique=True),
    Column("browser_hash", LargeBinary(32), nullable=False),
    Column("provider", String(32), nullable=False),
    Column("subject", String(255), nullable=False),
    Column("email_hash", LargeBinary(32)),
    reference("user_id", "users"),  # whose verified address it shares, or who was signed in
    Column("next_path", Text, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Index(None, "expires_at"),
    comment="A new identity that may belong to a known user: waits for that user to say so.",
)

consents = Table(
    "consents",
    METADATA,
    key(),
    reference("user_id", "users"),
    Column("version", String(32), nullable=False),
    Column("given_at", Instant, nullable=False),
    UniqueConstraint("user_id", "version"),
    comment="Which versions of the terms a user agreed to.",
)

marks = Table(
    "marks",
    METADATA,
    key(),
    reference("user_id", "users"),
    Column("kind", String(8), nullable=False),  # address, device
    Column("digest", LargeBinary(32), nullable=False),  # keyed hash
    Column("first_at", Instant, nullable=False),
    Column("last_at", Instant, nullable=False),
    UniqueConstraint("user_id", "kind", "digest"),
    Index(None, "kind", "digest"),
    Index(None, "last_at"),
    comment="Hashes by which double accounts are found; swept after mark_days.",
)

risks = Table(
    "risks",
    METADATA,
    Column("user_id", Key, ForeignKey("users.id"), primary_key=True, autoincrement=False),
    Column("score", Float, nullable=False),  # 0 to 100
    Column("reasons", Text, nullable=False),  # JSON: see quality.py
    Column("picks", Integer, nullable=False),  # answers that were looked at
    Column("policy", String(16), nullable=False),  # fingerprint of the policy it was computed by
    Column("computed_at", Instant, nullable=False),
    Index(None, "score"),
    comment="How far a user's picks are to be doubted, and why.",
)
