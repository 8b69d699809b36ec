"""The pick loop: duels, their images and their rounds.

Every id that a browser may see is a random `uid` or `token`; the integer keys stay inside. Columns without a
foreign key where one would fit came with a later revision: SQLite cannot add one to a table that is there.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    text,
)

from pickapic.collect.tables.columns import METADATA, Instant, Key, key, reference

duels = Table(
    "duels",
    METADATA,
    key(),
    Column("uid", String(32), nullable=False, unique=True),
    reference("user_id", "users"),
    Column("typed", Text, nullable=False),  # exactly what the person wrote
    Column("caption", Text, nullable=False),  # without the [negative] parts: the dataset's caption
    Column("negative_prompt", Text, nullable=False),
    Column("state", String(16), nullable=False),  # open, closed, failed
    Column("message", Text),  # why it failed, in words for the page
    Column("created_at", Instant, nullable=False),
    Column("closed_at", Instant),
    Column("image_width", Integer),  # of all its images, set by the first; see worker.py
    Column("image_height", Integer),
    Column("judged_by", String(16)),  # fingerprint of the words that its caption was judged by; none: not yet
    Column("refused", Boolean),  # by those words
    Index(None, "user_id", "created_at"),
    comment="One prompt of one user, and the rounds that follow from it.",
)

images = Table(
    "images",
    METADATA,
    key(),
    Column(
        "uid", String(36), nullable=False, unique=True
    ),  # the dataset's; unknown to a browser while its duel is open
    Column("token", String(32), nullable=False, unique=True),  # the opaque part of its address
    reference("duel_id", "duels"),
    Column("job_id", Key, ForeignKey("jobs.id"), nullable=False, unique=True),
    Column("state", String(16), nullable=False),  # ready: in the pool; shown: in a round; flagged; removed
    Column("origin", String(16), nullable=False, server_default="generated"),  # generated, corrupted, gold
    Column("role", String(8)),  # of a corrupted or gold image: better, worse
    Column("source_image_id", Key),  # what a corrupted image was made from
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
    Column("fetched_at", Instant),  # first sent to its user's browser
    Column("phash", BigInteger),  # perceptual hash, 64 bits as a signed integer
    Column("unfit", Float),  # what the image classifier gave it, 0 to 1
    Column("flag", String(32)),  # why it is flagged or removed: classifier, blocked, reported, ...
    Column("sent", Text),  # JSON: what the provider was asked, without secrets
    Column("revised_prompt", Text),  # what the provider made of the prompt, if it says so
    Column("source_sha256", String(64)),  # of the bytes that the provider answered with
    Column("seconds", Float),  # from asking for it to having it
    Column("hidden_at", Instant),  # when its user took it out of their gallery; its rounds stay
    Index(None, "duel_id", "state"),
    Index(None, "sha256"),
    comment="A finished image. Its file is in the store before its row is here.",
)

rounds = Table(
    "rounds",
    METADATA,
    key(),
    Column("uid", String(32), nullable=False, unique=True),
    reference("duel_id", "duels"),
    reference("user_id", "users"),
    Column("number", Integer, nullable=False),  # 1 for the first of its duel
    reference("left_image_id", "images"),
    reference("right_image_id", "images"),
    Column("incumbent", String(8)),  # left, right; none in a round of two new images
    Column("state", String(16), nullable=False),  # open, answered, skipped, withdrawn (by an undo before it)
    Column("pick", String(8)),  # left, right, tie
    reference("kept_image_id", "images", nullable=True),
    Column("shown_at", Instant, nullable=False),
    Column("picked_at", Instant),
    Column("response_ms", Integer),
    Column("undos", Integer, nullable=False, server_default="0"),
    Column("gold", String(8)),  # the side of the image known to be better; such rounds are no preferences
    Column("gold_pair_id", Key),  # the pair of an admin's list, if it was one
    Column("session_key", Key),  # which signed-in browser answered; no reference, since sessions go
    Index(None, "duel_id", "number"),
    Index(None, "user_id", "picked_at"),
    Index("ix_rounds_picked_at", "picked_at"),
    # When images are deleted, each is looked for in the rounds.
    Index(None, "left_image_id"),
    Index(None, "right_image_id"),
    Index(None, "kept_image_id"),
    Index(
        "ix_rounds_gold_pair_id",
        "gold_pair_id",
        sqlite_where=text("gold_pair_id IS NOT NULL"),
        postgresql_where=text("gold_pair_id IS NOT NULL"),
    ),
    comment="Two images shown, and the answer. The id is the dataset's ranking_id.",
)
