"""How sure ratings are: the comparisons are drawn again with replacement, and the models rated each time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from pickapic.ratings.bradley_terry import fit, strengths
from pickapic.ratings.comparisons import Comparisons, Floats, Names, comparisons
from pickapic.ratings.elo import run
from pickapic.records import InputError

Method = Literal["elo", "bradley-terry"]
PRIOR_TIES = 1e-6
"""In a draw where some model always wins its rating is infinite; this keeps it finite, and far out."""

_CELLS_AT_ONCE = 4_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Intervals:
    """Bootstrap intervals: `values`, `low`, `high` (m,) go with `models`; `draws` is (resamples, m)."""

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
) -> Intervals:
    """Return percentile intervals of the models' ratings.

    Bradley-Terry depends on counts alone, so counts are drawn (from a multinomial), not rows. For Elo rows
    are drawn, and come in random order: the interval holds the luck of the order as well.

    Args:
        model_0: (n,) names of the models whose image was shown as image 0.
        model_1: (n,) the same for image 1.
        label_0: (n,) 1 (model_0 won), 0 (model_1 won) or 0.5 (a tie).
        method: which ratings; in the units of `elo` or `bradley_terry`.
        resamples: how many times.
        seed: of the draws.
        level: share of the draws between `low` and `high`.
        prior_ties: as for `bradley_terry`.

    Raises:
        InputError: as `elo` or `bradley_terry`; an unknown method; `resamples` or `level` out of range.
    """
    if resamples < 2 or not 0 < level < 1:
        raise InputError(
            f"an interval takes 2 or more resamples and a level in 0..1, not {resamples}, {level}"
        )
    made, rng = comparisons(model_0, model_1, label_0), np.random.default_rng(seed)
    if method == "bradley-terry":
        values = strengths(made.wins(), made.models, prior_ties)
        draws = _bradley_terry_draws(made, values, resamples, max(prior_ties, PRIOR_TIES), rng)
    elif method == "elo":
        n = len(made.label_0)
        values = run(made)
        draws = np.stack([run(made, rng.integers(0, n, n)) for _ in range(resamples)])
    else:
        raise InputError(f"there is no rating method {method!r}; known are elo and bradley-terry")
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return Intervals(method, made.models, values, low, high, draws)


def _bradley_terry_draws(
    made: Comparisons, values: Floats, resamples: int, prior_ties: float, rng: np.random.Generator
) -> Floats:
    m, n = len(made.models), len(made.label_0)
    # One cell for each pair (smaller number first) and outcome for the first of it: lost, tied, won.
    swapped = made.first > made.second
    low, high = np.minimum(made.first, made.second), np.maximum(made.first, made.second)
    outcome = (2 * np.where(swapped, 1 - made.label_0, made.label_0)).astype(np.int64)
    cells, counts = np.unique((low * m + high) * 3 + outcome, return_counts=True)
    pair, result = cells // 3, cells % 3 / 2
    back = pair % m * m + pair // m
    draws: list[Floats] = []
    at_once = max(1, _CELLS_AT_ONCE // max(m * m, len(cells)))
    for start in range(0, resamples, at_once):
        drawn = rng.multinomial(n, counts / n, size=min(at_once, resamples - start)).astype(np.float64)
        wins = np.zeros((len(drawn), m * m))
        for share in (0.0, 0.5, 1.0):  # within one outcome a pair occurs once, so that += adds all
            here = result == share
            wins[:, pair[here]] += share * drawn[:, here]
            wins[:, back[here]] += (1 - share) * drawn[:, here]
        draws.append(fit(wins.reshape(-1, m, m), prior_ties, values))
    return np.concatenate(draws)
