"""How sure ratings are: the comparisons are drawn again with replacement, and the models rated each time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from pickapic.ratings.bradley_terry import fit, strengths
from pickapic.ratings.comparisons import Comparisons, Names, comparisons
from pickapic.ratings.davidson import davidson_strengths, fit_davidson
from pickapic.ratings.elo import pack, replay
from pickapic.ratings.tally import Floats, Tally
from pickapic.ratings.weights import Weighting, pair_weights
from pickapic.records import InputError

CountMethod = Literal["bradley-terry", "davidson"]
Method = Literal["elo"] | CountMethod
PRIOR_TIES = 1e-6
"""In a draw where some model always wins its rating is infinite; this keeps it finite, and far out."""

_CELLS_AT_ONCE = 4_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Intervals:
    """Bootstrap intervals: `values`, `low`, `high` (m,) go with `models`; `draws` is (resamples, m).

    Only differences of strengths mean something. Each draw of Bradley-Terry or Davidson is shifted so that the mean
    over all comparisons of their models' strengths is that of `values`: with the plain mean over models, one that was
    hardly ever compared would swing, and everybody else's interval with it.
    """

    method: str
    models: tuple[str, ...]
    values: Floats
    low: Floats
    high: Floats
    draws: Floats


def bootstrap(
    model_0: Names,
    model_1: Names,
    label_0: ArrayLike,
    method: Method = "bradley-terry",
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    prior_ties: float = 0.0,
    weighting: Weighting = "none",
) -> Intervals:
    """Return percentile intervals of the models' ratings.

    Bradley-Terry and Davidson depend on counts alone, so counts are drawn (from a multinomial), not rows. For Elo rows
    are drawn, and come in random order: the interval holds the luck of the order as well.

    Args:
        model_0: (n,) names of the models whose image was shown as image 0.
        model_1: (n,) the same for image 1.
        label_0: (n,) 1 (model_0 won), 0 (model_1 won) or 0.5 (a tie).
        method: which ratings; in the units of `elo`, `bradley_terry` or `davidson`.
        resamples: how many times.
        seed: of the draws.
        level: share of the draws between `low` and `high`.
        prior_ties: as for `bradley_terry`.
        weighting: as for `bradley_terry`; the weights are those of all comparisons in every draw.

    Raises:
        InputError: as `elo`, `bradley_terry` or `davidson`; an unknown method; weights with Elo, whose one pass over
            the rows has none; `resamples` or `level` out of range.
    """
    made = comparisons(model_0, model_1, label_0)
    if method != "elo":
        return bootstrap_counts(made.tally(), method, resamples, seed, level, prior_ties, weighting)
    _check(resamples, level)
    if weighting != "none":
        raise InputError("Elo ratings have no weights: choose bradley-terry or davidson")
    values, draws = _elo_draws(made, resamples, np.random.default_rng(seed))
    return _intervals(method, made.models, values, draws, level)


def bootstrap_counts(
    tally: Tally,
    method: CountMethod = "bradley-terry",
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    prior_ties: float = 0.0,
    weighting: Weighting = "none",
) -> Intervals:
    """Return `bootstrap` of comparisons that are counted already: the time does not depend on how many there were.

    Raises:
        InputError: as `bootstrap`.
    """
    _check(resamples, level)
    if method not in ("bradley-terry", "davidson"):
        raise InputError(f"there is no rating method {method!r}; known are elo, bradley-terry and davidson")
    rng = np.random.default_rng(seed)
    values, draws = _count_draws(tally, method, resamples, prior_ties, weighting, rng)
    return _intervals(method, tally.models, values, draws, level)


def drawn_tallies(tally: Tally, resamples: int, rng: np.random.Generator) -> Iterator[tuple[Floats, Floats]]:
    """Yield wins and ties (r, m, m) of comparisons drawn again with replacement, some draws at a time."""
    m = len(tally.models)
    won, tied = np.nonzero(tally.wins), np.nonzero(np.triu(tally.ties))
    counts = np.concatenate((tally.wins[won], tally.ties[tied]))
    n = tally.total
    at_once = max(1, _CELLS_AT_ONCE // max(m * m, len(counts)))
    for start in range(0, resamples, at_once):
        drawn = rng.multinomial(n, counts / n, size=min(at_once, resamples - start)).astype(np.float64)
        wins, ties = np.zeros((2, len(drawn), m, m))
        wins[:, won[0], won[1]] = drawn[:, : len(won[0])]
        ties[:, tied[0], tied[1]] = ties[:, tied[1], tied[0]] = drawn[:, len(won[0]) :]
        yield wins, ties


def _check(resamples: int, level: float) -> None:
    if resamples < 2 or not 0 < level < 1:
        raise InputError(
            f"an interval takes 2 or more resamples and a level in 0..1, not {resamples}, {level}"
        )


def _intervals(
    method: str, models: tuple[str, ...], values: Floats, draws: Floats, level: float
) -> Intervals:
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return Intervals(method, models, values, low, high, draws)


def _elo_draws(made: Comparisons, resamples: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    packed, m = pack(made), len(made.models)
    n = len(packed)
    draws = [replay(packed[rng.integers(0, n, n)], m) for _ in range(resamples)]
    return replay(packed, m), np.stack(draws)


def _count_draws(
    tally: Tally,
    method: Method,
    resamples: int,
    prior_ties: float,
    weighting: Weighting,
    rng: np.random.Generator,
) -> tuple[Floats, Floats]:
    weights = pair_weights(tally, weighting)
    all_of_it = Tally(tally.models, tally.wins * weights, tally.ties * weights)
    at_least = max(prior_ties, PRIOR_TIES)
    draws: list[Floats] = []
    if method == "davidson":
        values, _ = davidson_strengths(all_of_it, prior_ties)
    else:
        values = strengths(all_of_it.halves, tally.models, prior_ties)
    for wins, ties in drawn_tallies(tally, resamples, rng):
        if weighting != "none":
            wins, ties = wins * weights, ties * weights
        if method == "davidson":
            draws.append(fit_davidson(wins, ties, at_least, values)[0])
        else:
            draws.append(fit(wins + ties / 2, at_least, values))
    found, votes = np.concatenate(draws), tally.votes
    return values, found - (found - values) @ (votes / votes.sum())[:, None]
