"""What follows from counts: tallies, Davidson's model, weights, standings, drop-k; and coverage by simulation."""

import itertools
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from pickapic.ratings import (
    Comparisons,
    bootstrap,
    bradley_terry,
    comparisons,
    davidson,
    drop_k,
    elo,
    standings,
)
from pickapic.ratings.bootstrap import drawn_tallies
from pickapic.ratings.bradley_terry import ELO_POINTS, UnboundedError, fit
from pickapic.ratings.davidson import fit_davidson
from pickapic.ratings.standings import ranks
from pickapic.ratings.tally import Tally
from pickapic.ratings.weights import pair_weights, weighted
from pickapic.records import InputError

NAMES = np.array([f"m{i}" for i in range(12)])
rows = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 4), st.sampled_from([0.0, 0.5, 1.0])), min_size=8, max_size=60
).filter(lambda rows: any(a != b for a, b, _ in rows))


def columns(rows):
    return [f"m{a}" for a, _, _ in rows], [f"m{b}" for _, b, _ in rows], [label for *_, label in rows]


def picks(n=3000, m=6, seed=0, tie=0.5, spread=0.7):
    """Draw comparisons from Davidson's model; return them and the true log strengths (sum 0)."""
    rng = np.random.default_rng(seed)
    strength = rng.normal(0, spread, m)
    strength -= strength.mean()
    a = rng.integers(0, m, n)
    b = (a + rng.integers(1, m, n)) % m
    better, worse = np.exp(strength[a] / 2 - strength[b] / 2), np.exp(strength[b] / 2 - strength[a] / 2)
    at = rng.random(n) * (better + worse + tie)
    label = np.where(at < better, 1.0, np.where(at < better + worse, 0.0, 0.5))
    return NAMES[a], NAMES[b], label, strength


@given(rows)
def test_a_tally_counts_what_a_loop_counts(rows):
    made = comparisons(*columns(rows))
    m = len(made.models)
    wins, ties = np.zeros((2, m, m))
    for a, b, label in zip(made.first, made.second, made.label_0, strict=True):
        if label == 0.5:
            ties[a, b] += 1
            ties[b, a] += 1
        else:
            wins[(a, b) if label == 1 else (b, a)] += 1
    tally = made.tally()
    assert (tally.wins == wins).all()
    assert (tally.ties == ties).all()
    assert tally.votes.tolist() == made.counts().tolist()
    assert (tally.total, tally.tied) == (len(made.first), (made.label_0 == 0.5).sum())
    rates = tally.win_rate_matrix()
    met = tally.games > 0
    assert (rates + rates.T)[met] == pytest.approx(1)
    assert np.isnan(rates[~met]).all()


def test_the_win_rate_matrix_by_hand():
    matrix = comparisons(["a", "b", "a", "c"], ["b", "a", "b", "a"], [1, 1, 0.5, 0]).tally().win_rate_matrix()
    nan = math.nan
    assert matrix == pytest.approx(np.array([[nan, 0.5, 1], [0.5, nan, nan], [0, nan, nan]]), nan_ok=True)


def relabelled(found, names):
    return {names[model]: value for model, value in found.as_dict().items()}


@pytest.mark.slow
@given(rows, st.permutations(range(5)))
def test_counts_alone_matter_and_names_do_not(rows, order):
    model_0, model_1, label_0 = columns(rows)
    other = {f"m{i}": f"m{j}" for i, j in enumerate(order)}
    shuffled = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))]
    for method in (bradley_terry, davidson):
        if method is davidson and all(a == b or label == 0.5 for a, b, label in rows):
            continue
        found = method(model_0, model_1, label_0, prior_ties=0.5)
        renamed = method(
            [other[model] for model in model_0], [other[model] for model in model_1], label_0, prior_ties=0.5
        )
        assert renamed.as_dict() == pytest.approx(relabelled(found, other), abs=1e-7)
        assert method(*columns(shuffled), prior_ties=0.5).values == pytest.approx(found.values, abs=1e-7)
        swapped = method(model_1, model_0, [1 - label for label in label_0], prior_ties=0.5)
        assert swapped.values == pytest.approx(found.values, abs=1e-7)
        # Every comparison twice and every imagined one twice: the same maximum.
        twice = method(*columns(rows * 2), prior_ties=1)
        assert twice.values == pytest.approx(found.values, abs=1e-7)
        assert found.values.sum() == pytest.approx(0, abs=1e-9)


@given(rows, st.floats(-500, 500))
def test_elo_moves_with_where_it_starts_and_ties_have_no_side(rows, shift):
    model_0, model_1, label_0 = columns(rows)
    found = elo(model_0, model_1, label_0)
    assert elo(model_0, model_1, label_0, initial=1000 + shift).values == pytest.approx(
        found.values + shift, abs=1e-8
    )
    sides = [
        (b, a) if label == 0.5 else (a, b) for a, b, label in zip(model_0, model_1, label_0, strict=True)
    ]
    assert elo([a for a, _ in sides], [b for _, b in sides], label_0).values == pytest.approx(found.values)


def test_newton_finds_the_same_from_anywhere():
    *data, _ = picks()
    wins = comparisons(*data).wins()[None]
    values = fit(wins, 0.0)
    for shift in (0.0, 3.0):
        start = np.random.default_rng(0).normal(0, 2, 6) + shift
        assert fit(wins, 0.0, start) == pytest.approx(values, abs=1e-9)


def davidson_likelihood(tally, parameters):
    """Write the likelihood out, comparison by comparison of two models."""
    *values, log_tie = parameters
    total = 0.0
    for i, j in itertools.combinations(range(len(values)), 2):
        i_wins, j_wins = math.exp((values[i] - values[j]) / 2), math.exp((values[j] - values[i]) / 2)
        tie = math.exp(log_tie)
        z = i_wins + j_wins + tie
        total += tally.wins[i, j] * math.log(i_wins / z) + tally.wins[j, i] * math.log(j_wins / z)
        total += tally.ties[i, j] * math.log(tie / z)
    return total


def test_davidson_is_the_maximum_that_scipy_finds():
    *data, strength = picks(20_000, m=5, tie=0.8)
    found = davidson(*data)
    tally = comparisons(*data).tally()
    best = minimize(
        lambda x: -davidson_likelihood(tally, x) / tally.total + x[:-1].sum() ** 2,
        np.zeros(6),
        method="BFGS",
        options={"gtol": 1e-9},
    )
    assert found.values == pytest.approx(best.x[:-1], abs=1e-5)
    assert found.tie == pytest.approx(math.exp(best.x[-1]), rel=1e-5)
    assert found.values == pytest.approx(strength, abs=0.06)
    assert found.tie == pytest.approx(0.8, abs=0.05)


def test_davidson_of_two_models_has_a_closed_form():
    found = davidson(["a"] * 20, ["b"] * 20, [1] * 9 + [0] * 4 + [0.5] * 7)
    assert found["a"] - found["b"] == pytest.approx(math.log(9 / 4))
    assert found.tie == pytest.approx(7 / math.sqrt(9 * 4))


def test_davidson_without_ties_is_bradley_terry():
    model_0, model_1, label_0, _ = picks(800, tie=0.0)
    found = davidson(model_0, model_1, label_0)
    assert found.tie == 0
    assert found.values == pytest.approx(bradley_terry(model_0, model_1, label_0).values, abs=1e-8)


def test_many_fits_at_once_are_the_fits_one_by_one():
    """Among them one without ties, which has a tie parameter of 0 while the others have not."""
    tallies = [comparisons(*picks(500, seed=seed, tie=tie)[:3]).tally() for seed, tie in ((1, 0.4), (2, 0.0))]
    wins, ties = np.stack([t.wins for t in tallies]), np.stack([t.ties for t in tallies])
    values, tie = fit_davidson(wins, ties, 0.0, np.zeros(6))
    for i in range(2):
        alone, tie_alone = fit_davidson(wins[i : i + 1], ties[i : i + 1], 0.0)
        assert values[i] == pytest.approx(alone[0], abs=1e-7)
        assert tie[i] == pytest.approx(tie_alone[0], abs=1e-7)
        halves = wins[i : i + 1] + ties[i : i + 1] / 2
        assert fit(np.concatenate((halves, halves[:, ::-1, ::-1])), 0.0)[0] == pytest.approx(
            fit(halves, 0.0)[0]
        )


def test_draws_have_as_many_comparisons_and_the_right_means():
    tally = comparisons(*picks(400, m=4)[:3]).tally()
    wins, ties = (
        np.concatenate(part)
        for part in zip(*drawn_tallies(tally, 4000, np.random.default_rng(0)), strict=True)
    )
    assert (ties == np.swapaxes(ties, 1, 2)).all()
    assert (wins.sum(axis=(1, 2)) + ties.sum(axis=(1, 2)) / 2 == 400).all()
    assert wins.mean(axis=0) == pytest.approx(tally.wins, abs=0.6)
    assert ties.mean(axis=0) == pytest.approx(tally.ties, abs=0.6)
    # A multinomial: the variance of one count is n p (1 - p).
    assert wins.var(axis=0) == pytest.approx(tally.wins * (1 - tally.wins / 400), rel=0.15)


def uneven(seed=0):
    """Two pairs of models were compared far more often than the others."""
    model_0, model_1, label_0, _ = picks(2000, m=5, seed=seed)
    often = ((model_0 == "m0") & (model_1 == "m1")) | ((model_0 == "m2") & (model_1 == "m0"))
    repeat = np.where(often, 8, 1)
    return tuple(np.repeat(column, repeat) for column in (model_0, model_1, label_0))


def test_weights_make_pairs_or_models_count_alike_and_leave_win_rates():
    tally = comparisons(*uneven()).tally()
    by_pairs, by_models = (weighted(tally, kind) for kind in ("pairs", "models"))
    met = ~np.eye(5, dtype=bool)
    assert by_pairs.games[met] == pytest.approx(by_pairs.games[0, 1])
    assert by_models.games.sum(axis=1) == pytest.approx(by_models.games.sum() / 5)
    for found in (by_pairs, by_models):
        assert found.games.sum() == pytest.approx(tally.games.sum())
        assert found.win_rate_matrix()[met] == pytest.approx(tally.win_rate_matrix()[met])
    assert (weighted(tally, "none").wins == tally.wins).all()
    # Independent: rows weighted by 1 / (comparisons of their pair), summed in a plain loop.
    made = comparisons(*uneven())
    weight = {}
    for a, b in zip(made.first, made.second, strict=True):
        pair = (min(a, b), max(a, b))
        weight[pair] = weight.get(pair, 0) + 1
    mean = len(made.first) / len(weight)
    wins = np.zeros((5, 5))
    for a, b, label in zip(made.first, made.second, made.label_0, strict=True):
        wins[a, b] += label * mean / weight[min(a, b), max(a, b)]
        wins[b, a] += (1 - label) * mean / weight[min(a, b), max(a, b)]
    assert by_pairs.halves == pytest.approx(wins)
    assert bradley_terry(*uneven(), weighting="pairs").values == pytest.approx(
        fit(wins[None], 0)[0], abs=1e-8
    )


def test_intervals_know_the_weights():
    data = uneven()
    found = bootstrap(*data, weighting="pairs", resamples=300)
    assert found.values == pytest.approx(bradley_terry(*data, weighting="pairs").values)
    assert ((found.low < found.values) & (found.values < found.high)).all()
    plain = bootstrap(*data, resamples=300)
    assert (found.high - found.low).mean() > (plain.high - plain.low).mean()


def test_weights_that_do_not_exist_are_explained():
    # c was compared with a only, b with a only: a counts as much as both together, whatever the weights.
    tally = comparisons(["a", "a", "b", "c"], ["b", "c", "a", "a"], [1, 1, 1, 1]).tally()
    with pytest.raises(InputError, match=r"no weights make every model count alike.*\(a most of all\)"):
        pair_weights(tally, "models")
    with pytest.raises(InputError, match="no weighting 'users'"):
        pair_weights(tally, "users")
    with pytest.raises(InputError, match="Elo ratings have no weights"):
        bootstrap(["a", "b"], ["b", "a"], [1, 1], method="elo", weighting="pairs")


def test_ranks_are_shared_where_intervals_overlap():
    low, high = np.array([5.0, 4.0, 1.0, 0.0]), np.array([7.0, 6.0, 3.0, 3.5])
    assert ranks(low, high).tolist() == [1, 1, 3, 3]


@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(0, 5)), min_size=1, max_size=9))
def test_ranks_are_those_of_a_loop(intervals):
    low = np.array([middle - half for middle, half in intervals])
    high = np.array([middle + half for middle, half in intervals])
    expected = [1 + sum(other > mine for other in low) for mine in high]
    assert ranks(low, high).tolist() == expected
    assert 1 in expected


def test_standings_are_the_ratings_with_marks():
    model_0, model_1, label_0, _ = picks(4000, m=5, spread=1.0)
    rare = (["m0"] * 6, ["new"] * 6, [1, 0, 1, 0.5, 0, 1])
    data = [
        np.concatenate((column, extra))
        for column, extra in zip((model_0, model_1, label_0), rare, strict=True)
    ]
    found = standings(*data, resamples=200, provisional_below=10)
    strength = bradley_terry(*data)
    assert [row.rating for row in found.models] == sorted((row.rating for row in found.models), reverse=True)
    assert {row.model: row.rating for row in found.models} == pytest.approx(
        {model: 1000 + ELO_POINTS * value for model, value in strength.as_dict().items()}
    )
    assert [row.model for row in found.models if row.provisional] == ["new"]
    assert (found.comparisons, found.ties) == (4006, (data[2] == 0.5).sum())
    # Six comparisons say nearly nothing, so that none is surely better: the first rank is shared.
    new = next(row for row in found.models if row.model == "new")
    assert (new.rank, found.models[0].rank) == (1, 1)
    assert {row.rank for row in found.models} > {1}
    by_davidson = standings(*data, method="davidson", resamples=50)
    assert by_davidson.tie == pytest.approx(davidson(*data).tie)
    assert found.tie is None


def test_a_model_hardly_ever_compared_widens_no_interval_but_its_own():
    model_0, model_1, label_0, _ = picks(4000, m=5, spread=1.0)
    alone = bootstrap(model_0, model_1, label_0, resamples=400)
    data = [
        np.concatenate(both) for both in ((model_0, ["m0"] * 3), (model_1, ["new"] * 3), (label_0, [1, 0, 1]))
    ]
    found = bootstrap(*data, resamples=400)
    width, before = found.high - found.low, alone.high - alone.low
    assert width[:5] == pytest.approx(before, rel=0.2)
    assert width[5] > 20 * width[:5].max()


def test_an_unbeaten_model_is_rated_with_ties_that_the_method_names():
    data = (["a"] * 5 + ["b"] * 4, ["b"] * 5 + ["c"] * 4, [1.0] * 5 + [1, 0, 1, 0])
    with pytest.raises(UnboundedError, match=r"^a never lost"):
        bradley_terry(*data)
    found = standings(*data, resamples=50)
    assert found.method == "bradley-terry, 0.5 tie added to every pair"
    assert found.models[0].model == "a"
    assert {row.model: row.rating for row in found.models}["a"] == pytest.approx(
        1000 + ELO_POINTS * bradley_terry(*data, prior_ties=0.5)["a"]
    )
    # Groups that never met are no case for it: what their order would be is made up.
    with pytest.raises(InputError, match="never compared with one another"):
        standings(["a", "b", "c", "d"], ["b", "a", "d", "c"], [1, 1, 1, 1])


def fewest_by_trying(data):
    made = comparisons(*data)
    n = len(made.first)
    first = int(fit(made.wins()[None], 1e-6)[0].argmax())
    for k in range(1, n):
        for left_out in itertools.combinations(range(n), k):
            keep = np.setdiff1d(np.arange(n), left_out)
            rest = Comparisons(made.models, made.first[keep], made.second[keep], made.label_0[keep])
            values = fit(rest.wins()[None], 1e-6)[0]
            if values.max() > values[first] + 1e-9:
                return k
    return None


@pytest.mark.parametrize("seed", [2, 18, 28, 41, 44])
def test_drop_k_is_what_trying_every_subset_finds(seed):
    rng = np.random.default_rng(seed)
    a = rng.integers(0, 3, 9)
    data = (NAMES[a], NAMES[(a + rng.integers(1, 3, 9)) % 3], rng.choice([0, 0.5, 1], 9, p=[0.45, 0.1, 0.45]))
    try:
        found = drop_k(*data)
    except InputError:
        pytest.fail("pick a seed with finite ratings")
    assert found.k == fewest_by_trying(data)


def test_drop_k_of_two_models_has_a_closed_form():
    found = drop_k(["a"] * 100, ["b"] * 100, [1] * 60 + [0] * 40)
    assert (found.first, found.challenger, found.k, found.comparisons) == ("a", "b", 21, 100)
    assert [(kind.winner, kind.loser, kind.tie, kind.count) for kind in found.left_out] == [
        ("a", "b", False, 21)
    ]


@pytest.mark.parametrize("seed", range(3))
def test_what_drop_k_leaves_out_does_put_another_model_first(seed):
    *data, _ = picks(1500, m=6, seed=seed)
    found = drop_k(*data)
    tally = comparisons(*data).tally()
    wins, ties = tally.wins.copy(), tally.ties.copy()
    for kind in found.left_out:
        a, b = tally.models.index(kind.winner), tally.models.index(kind.loser)
        if kind.tie:
            ties[a, b] -= kind.count
            ties[b, a] -= kind.count
        else:
            wins[a, b] -= kind.count
    assert min(wins.min(), ties.min()) >= 0
    assert sum(kind.count for kind in found.left_out) == found.k
    without = fit(Tally(tally.models, wins, ties).halves[None], 0.0)[0]
    assert without[tally.models.index(found.challenger)] > without[tally.models.index(found.first)]
    assert max(bradley_terry(*data).ranked(), key=lambda item: item[1])[0] == found.first


def test_a_first_place_that_nobody_holds_is_explained():
    with pytest.raises(InputError, match="a and b have the same rating"):
        drop_k(["a", "a"], ["b", "b"], [1, 0])
    for method in (drop_k, davidson):
        with pytest.raises(InputError, match="all 3 comparisons are ties"):
            method(["a", "b", "a"], ["b", "a", "b"], [0.5] * 3)


def test_an_unknown_model_is_named_with_the_nearest():
    found = bradley_terry(["sdxl", "sd21"], ["sd21", "sdxl"], [1, 1])
    with pytest.raises(InputError, match=r"no model 'sdx'.*did you mean 'sdxl'"):
        found["sdx"]
    with pytest.raises(InputError, match="2 comparisons lack the name of a model"):
        bradley_terry(["a", "", None], ["b", "a", "b"], [1, 1, 0])


@pytest.mark.slow
def test_the_benchmark_times_candidates_that_agree():
    """It checks by itself that what it compares does the same thing; here on few comparisons."""
    script = Path(__file__).parents[2] / "benchmarks" / "ratings.py"
    options = [
        "--rows",
        "20000",
        "--models",
        "10",
        "--shuffles",
        "3",
        "--resamples",
        "20",
        "--rounds",
        "1",
        "--json",
    ]
    found = subprocess.run(
        [sys.executable, str(script), *options], capture_output=True, text=True, check=True
    )
    timings = json.loads(found.stdout)
    assert [timing["name"] for timing in timings if timing["measured"] == "all of it"] == [
        "pickapic.ratings.elo_shuffled",
        "pickapic.ratings.bootstrap",
    ]
    assert all(0 < timing["wall_s"] < 60 for timing in timings)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["bradley-terry", "davidson"])
def test_95_percent_intervals_hold_the_truth_95_percent_of_the_time(method):
    """300 worlds of 8 models: the share has a standard error of about 0.6 percent."""
    inside = []
    for seed in range(300):
        model_0, model_1, label_0, strength = picks(600, m=8, seed=seed, tie=0.4)
        if (
            method == "bradley-terry"
        ):  # ties as halves have other strengths: leave them out of the truth's world
            model_0, model_1, label_0, strength = picks(600, m=8, seed=seed, tie=0.0)
        found = bootstrap(model_0, model_1, label_0, method, resamples=300, seed=seed)
        inside.append((found.low <= strength) & (strength <= found.high))
    assert 0.93 <= np.mean(inside) <= 0.97
