"""The tables of a collection. All times are UTC."""

from pickapic.collect.tables.columns import METADATA, Instant, Key
from pickapic.collect.tables.loop import duels, images, rounds
from pickapic.collect.tables.machines import breakers, tokens, workers
from pickapic.collect.tables.moderation import (
    blocked_images,
    decisions,
    downloads,
    generator_states,
    gold_pairs,
    prompt_reviews,
    reports,
    shares,
)
from pickapic.collect.tables.people import (
    consents,
    identities,
    links,
    marks,
    risks,
    sessions,
    sign_ins,
    users,
)
from pickapic.collect.tables.queue import jobs, queue

__all__ = [
    "METADATA",
    "Instant",
    "Key",
    "blocked_images",
    "breakers",
    "consents",
    "decisions",
    "downloads",
    "duels",
    "generator_states",
    "gold_pairs",
    "identities",
    "images",
    "jobs",
    "links",
    "marks",
    "prompt_reviews",
    "queue",
    "reports",
    "risks",
    "rounds",
    "sessions",
    "shares",
    "sign_ins",
    "tokens",
    "users",
    "workers",
]
