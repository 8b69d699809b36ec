"""Doubt from counts: what a share is at least, and how far a value lies between harmless and clear."""

from __future__ import annotations

from scipy.special import betaincinv


def share_at_least(hits: int, of: int, confidence: float) -> float:
    """Return the lower bound of a share by Clopper and Pearson (1934), one-sided; 0 for no trials."""
    if hits <= 0:
        return 0.0
    return float(betaincinv(hits, of - hits + 1, 1 - confidence))


def ramp(value: float, low: float, high: float, most: float) -> float:
    """Return 0 up to `low`, `most` from `high` on, and a straight line between."""
    return most * min(1.0, max(0.0, (value - low) / (high - low)))
