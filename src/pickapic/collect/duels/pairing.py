"""The rules of a round, as pure functions: which two images are shown, on which side, and which one stays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from pickapic.records import Pick, Side

TWIN_BITS = 2
"""Perceptual hashes that differ in at most so many of their 64 bits are of the same picture."""
_BITS = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Candidate:
    """A finished image: its key, and its content, so that a round never shows the same picture twice.

    `phash` is its perceptual hash, 64 bits as a signed integer; None if it was not computed.
    """

    image_id: int
    sha256: str
    token: str
    phash: int | None = None


@dataclass(frozen=True, slots=True)
class Pair:
    """Two images on their sides; `incumbent` is the side of the one kept from the round before."""

    left: Candidate
    right: Candidate
    incumbent: Side | None


def same_picture(first: Candidate, second: Candidate) -> bool:
    """Return whether two images are the same file, or so alike that nobody could tell them apart."""
    if first.sha256 == second.sha256:
        return True
    if first.phash is None or second.phash is None:
        return False
    return ((first.phash ^ second.phash) & _BITS).bit_count() <= TWIN_BITS


def next_round(kept: Candidate | None, pool: Sequence[Candidate], rng: Random) -> Pair | None:
    """Return the next two images, sides drawn by `rng`, or None while the pool has too few.

    `pool` is in the order in which the images were made. The challenger is the first that differs from its
    opponent; the same picture twice is shown only when there is nothing else.
    """
    waiting = list(pool)
    if kept is None:
        if len(waiting) < 2:
            return None
        first = waiting.pop(0)
    elif not waiting:
        return None
    else:
        first = kept
    second = next((image for image in waiting if not same_picture(image, first)), waiting[0])
    if rng.random() < 0.5:
        return Pair(first, second, "left" if kept else None)
    return Pair(second, first, "right" if kept else None)


def kept_side(pick: Pick, rng: Random) -> Side:
    """Return which image stays: the picked one, and after a tie either."""
    if pick == "tie":
        return "left" if rng.random() < 0.5 else "right"
    return pick


def missing(kept: bool, pool: int) -> int:
    """Return how many more images the next round needs before it can be shown."""
    return max(0, (1 if kept else 2) - pool)
