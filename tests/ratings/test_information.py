"""Intervals of few comparisons: a closed form, coverage, and what a bootstrap would call certain."""

from __future__ import annotations

import numpy as np
import pytest

from pickapic.ratings import Tally
from pickapic.ratings.bradley_terry import ELO_POINTS
from pickapic.ratings.information import information_intervals
from pickapic.ratings.standings import tally_standings


def _tally(wins: list[list[float]]) -> Tally:
    array = np.array(wins, dtype=np.float64)
    names = tuple(f"m{i}" for i in range(len(array)))
    return Tally(names, array, np.zeros_like(array))


@pytest.mark.parametrize(("won", "lost"), [(60, 40), (9, 1), (500, 500)])
def test_two_models_have_the_interval_of_a_logit(won, lost):
    """The textbook's: the variance of a log odds is 1/won + 1/lost."""
    low, high = information_intervals(_tally([[0, won], [lost, 0]]), prior_ties=1e-9)
    half = 1.959964 * np.sqrt(1 / won + 1 / lost) / 2
    logit = np.log(won / lost) / 2
    np.testing.assert_allclose(low, [logit - half, -logit - half], rtol=1e-5)
    np.testing.assert_allclose(high, [logit + half, -logit + half], rtol=1e-5)


@pytest.mark.parametrize("won", [1, 3, 5])
def test_a_few_wins_in_a_row_do_not_separate_models(won):
    better, worse = tally_standings(_tally([[0, won], [0, 0]])).models
    assert (better.rank, worse.rank) == (1, 1)
    assert better.low < worse.high
    assert better.provisional


def test_many_wins_do():
    assert [row.rank for row in tally_standings(_tally([[0, 90], [30, 0]])).models] == [1, 2]


def test_provisional_intervals_hold_the_truth_nearly_always():
    """Of four models by 24 comparisons; some of them never lost."""
    rng, strengths = np.random.default_rng(5), np.array([0.9, 0.3, -0.3, -0.9])
    chance = 1 / (1 + np.exp(strengths[None, :] - strengths[:, None]))
    held = []
    for _ in range(150):
        wins = np.zeros((4, 4))
        for i in range(4):
            for j in range(i):
                wins[i, j] = rng.binomial(4, chance[i, j])
                wins[j, i] = 4 - wins[i, j]
        rows = tally_standings(_tally(wins.tolist()), resamples=60).models
        for row in rows:
            truth = 1000 + ELO_POINTS * strengths[int(row.model[1])]
            held.append(row.low <= truth <= row.high)
    assert np.mean(held) > 0.93
