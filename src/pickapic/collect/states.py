"""The states of duels, rounds and images, as their rows name them."""

from __future__ import annotations

OPEN = "open"
"""Of a duel: its rounds go on. Of a round: it is on screen."""

CLOSED = "closed"
FAILED = "failed"

ANSWERED = "answered"
SKIPPED = "skipped"
WITHDRAWN = "withdrawn"
"""Of a round that had followed an answer which was taken back."""

READY = "ready"
"""Of an image: in the pool of its duel."""
ASIDE = "aside"
"""Of an image made for a check round: it waits, and never enters the pool."""
SHOWN = "shown"
FLAGGED = "flagged"
"""Of an image that a classifier, or the list of blocked images, found unfit: it was never shown."""
REMOVED = "removed"
"""Of an image that somebody took away."""
WITHHELD = (FLAGGED, REMOVED)

GENERATED = "generated"
"""Origin of an image that a model made; only these are preferences."""
CORRUPTED = "corrupted"
"""Origin of a spoiled copy."""
GOLD = "gold"
"""Origin of an image of an admin's list."""
