"""How sure Bradley-Terry ratings of few comparisons are, by the likelihood's curvature instead of by drawing again.

Whoever won all of three comparisons wins all of them in every draw: the bootstrap calls that certain. The curvature
of the likelihood does not.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from pickapic.ratings.bradley_terry import fit
from pickapic.ratings.tally import Floats, Tally


def information_intervals(
    tally: Tally, level: float = 0.95, prior_ties: float = 0.5
) -> tuple[Floats, Floats]:
    """Return `low` and `high` (m,) of the log strengths, from the inverse of Fisher's information (Wald's interval).

    As in `bootstrap` a strength is measured from the mean over all comparisons of their models' strengths. A tie counts
    as half a win each, as if it were decided by a coin, so that many ties make these intervals a little too wide.

    Args:
        tally: outcomes of m models, at least one of each.
        level: how often the interval should hold the truth.
        prior_ties: imagined ties between every two models, more than 0: without them somebody who always won would
            have no finite interval.
    """
    m = len(tally.models)
    values = fit(tally.halves[None], prior_ties)[0]
    games = tally.games + prior_ties * (1 - np.eye(m))
    chance = 1 / (1 + np.exp(values[None, :] - values[:, None]))
    weight = games * chance * (1 - chance)
    covariance = np.linalg.pinv(np.diag(weight.sum(axis=1)) - weight)
    votes = tally.votes
    from_mean = np.eye(m) - np.outer(np.ones(m), votes / votes.sum())
    spread = np.sqrt(np.einsum("ij,jk,ik->i", from_mean, covariance, from_mean))
    half = NormalDist().inv_cdf((1 + level) / 2) * spread
    return values - half, values + half
