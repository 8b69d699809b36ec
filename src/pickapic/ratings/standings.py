"""A leaderboard that says how sure it is: ratings in Elo points with intervals, tied ranks, provisional rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from pickapic.ratings.bootstrap import CountMethod, Method, bootstrap, bootstrap_counts
from pickapic.ratings.bradley_terry import UnboundedError, elo_scale
from pickapic.ratings.comparisons import Names, comparisons
from pickapic.ratings.davidson import davidson_strengths
from pickapic.ratings.elo import elo_shuffled
from pickapic.ratings.information import information_intervals
from pickapic.ratings.tally import Floats, Integers, Tally
from pickapic.ratings.weights import Weighting, weighted

SETTLED_VOTES = 100
"""Below so many comparisons a model's row is provisional: its interval is wide, and wider than it looks."""

FALLBACK_TIES = 0.5
"""Imagined ties between every two models, where a judge left some model without a finite rating."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One model's row. `rank` is 1 + the number of models that are surely better: intervals that overlap share it."""

    model: str
    rank: int
    rating: float
    low: float
    high: float
    win_rate: float
    comparisons: int
    provisional: bool


@dataclass(frozen=True, slots=True)
class Standings:
    """All models, best rating first, and what the ratings are.

    `method` names the prior ties, where there are some. `tie` is Davidson's parameter, None for other methods.
    `level` is the share of bootstrap draws between `low` and `high`.
    """

    method: str
    weighting: str
    level: float
    comparisons: int
    ties: int
    tie: float | None
    models: tuple[Standing, ...]


def standings(
    model_0: Names,
    model_1: Names,
    label_0: ArrayLike,
    method: Method = "bradley-terry",
    *,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    prior_ties: float = 0.0,
    weighting: Weighting = "none",
    provisional_below: int = SETTLED_VOTES,
) -> Standings:
    """Rate models in Elo points around 1000, with bootstrap intervals, ranks by interval and provisional marks.

    Strengths v of Bradley-Terry and Davidson become 1000 + 400 / ln 10 * v. Elo is the mean of 50 random orders. Where
    some model never lost, `FALLBACK_TIES` keep the ratings finite, and the method's name says so.

    Args:
        model_0: (n,) names of the models whose image was shown as image 0.
        model_1: (n,) the same for image 1.
        label_0: (n,) 1 (model_0 won), 0 (model_1 won) or 0.5 (a tie).
        method: which ratings.
        resamples: draws of the bootstrap.
        seed: of the draws and orders.
        level: share of the draws that the intervals hold.
        prior_ties: as for `bradley_terry`.
        weighting: as for `bradley_terry`.
        provisional_below: comparisons that a model needs for its row not to be provisional.

    Raises:
        InputError: as `bootstrap`. Not refused: all comparisons being ties (`Tally.require_decided` does so).
    """
    made = comparisons(model_0, model_1, label_0)
    if method != "elo":
        return tally_standings(
            made.tally(),
            method,
            resamples=resamples,
            seed=seed,
            level=level,
            prior_ties=prior_ties,
            weighting=weighting,
            provisional_below=provisional_below,
        )
    found = bootstrap(model_0, model_1, label_0, method, resamples, seed, level, prior_ties, weighting)
    tally, values = made.tally(), elo_shuffled(model_0, model_1, label_0, seed=seed).mean
    rows = _rows(tally, values, found.low, found.high, provisional_below)
    return Standings(method, weighting, level, tally.total, tally.tied, None, rows)


def tally_standings(
    tally: Tally,
    method: CountMethod = "bradley-terry",
    *,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    prior_ties: float = 0.0,
    weighting: Weighting = "none",
    provisional_below: int = SETTLED_VOTES,
) -> Standings:
    """Return `standings` of comparisons that are counted already, however many there were.

    Raises:
        InputError: as `standings`.
    """
    label: str = method
    try:
        found = bootstrap_counts(tally, method, resamples, seed, level, prior_ties, weighting)
    except UnboundedError:
        prior_ties = FALLBACK_TIES
        found = bootstrap_counts(tally, method, resamples, seed, level, prior_ties, weighting)
    if prior_ties > 0:
        label = f"{method}, {prior_ties:g} tie added to every pair"
    tie = davidson_strengths(weighted(tally, weighting), prior_ties)[1] if method == "davidson" else None
    low, high = found.low, found.high
    if method == "bradley-terry" and weighting == "none":
        low, high = _widened(tally, low, high, level, provisional_below)
    values, low, high = (elo_scale(part) for part in (found.values, low, high))
    rows = _rows(tally, values, low, high, provisional_below)
    return Standings(label, weighting, level, tally.total, tally.tied, tie, rows)


def _widened(
    tally: Tally, low: Floats, high: Floats, level: float, provisional_below: int
) -> tuple[Floats, Floats]:
    """Give provisional rows the wider of both intervals: of few comparisons a bootstrap sees only what happened."""
    few = tally.votes < provisional_below
    if not few.any():
        return low, high
    below, above = information_intervals(tally, level)
    return np.where(few, np.minimum(low, below), low), np.where(few, np.maximum(high, above), high)


def _rows(
    tally: Tally, values: Floats, low: Floats, high: Floats, provisional_below: int
) -> tuple[Standing, ...]:
    places, rates, votes = ranks(low, high), tally.win_rates(), tally.votes
    rows = [
        Standing(
            name,
            int(places[i]),
            float(values[i]),
            float(low[i]),
            float(high[i]),
            float(rates[i]),
            int(votes[i]),
            bool(votes[i] < provisional_below),
        )
        for i, name in enumerate(tally.models)
    ]
    return tuple(sorted(rows, key=lambda row: (-row.rating, row.model)))


def ranks(low: Floats, high: Floats) -> Integers:
    """Return each model's rank (m,): 1 + the number of models whose `low` lies above its `high` (m,).

    Models whose intervals overlap may share a rank; a gap between ratings alone never separates two.
    """
    return 1 + (low[None, :] > high[:, None]).sum(axis=1).astype(np.int64)
