"""Ratings of models from comparisons of their images: Elo, Bradley-Terry, bootstrap intervals."""

from __future__ import annotations

from pickapic.ratings.bootstrap import Intervals, bootstrap
from pickapic.ratings.bradley_terry import bradley_terry
from pickapic.ratings.comparisons import Comparisons, Ratings, comparisons
from pickapic.ratings.elo import ShuffledRatings, elo, elo_shuffled

__all__ = [
    "Comparisons",
    "Intervals",
    "Ratings",
    "ShuffledRatings",
    "bootstrap",
    "bradley_terry",
    "comparisons",
    "elo",
    "elo_shuffled",
]
