"""Ratings against naive loops, choix, evalica's own entry point, and what must hold of any ratings."""

import math

import choix
import evalica
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import pickapic.ratings
from pickapic.ratings import bootstrap, bradley_terry, comparisons, elo, elo_shuffled
from pickapic.ratings.bradley_terry import ELO_POINTS, elo_scale
from pickapic.records import InputError

rows = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 5), st.sampled_from([0.0, 0.5, 1.0])), min_size=1, max_size=60
)


def columns(rows):
    return [f"m{a}" for a, _, _ in rows], [f"m{b}" for _, b, _ in rows], [label for *_, label in rows]


def rateable(rows):
    assume(any(a != b for a, b, _ in rows))
    return columns(rows)


def naive_elo(model_0, model_1, label_0, k=32.0, initial=1000.0, scale=400.0):
    ratings = dict.fromkeys(sorted({*model_0, *model_1}), initial)
    for a, b, label in zip(model_0, model_1, label_0, strict=True):
        if a == b:
            continue
        expected = 1 / (1 + 10 ** ((ratings[b] - ratings[a]) / scale))
        ratings[a] += k * (label - expected)
        ratings[b] -= k * (label - expected)
    return ratings


def simulated(n=3000, m=6, seed=0, ties=0.1):
    rng = np.random.default_rng(seed)
    strength = rng.normal(0, 0.7, m)
    a, b = rng.integers(0, m, (2, n))
    label = (rng.random(n) < 1 / (1 + np.exp(strength[b] - strength[a]))).astype(float)
    label[rng.random(n) < ties] = 0.5
    names = np.array([f"m{i}" for i in range(m)])
    return names[a], names[b], label, strength - strength.mean()


@given(rows, st.floats(1, 64), st.floats(-2000, 2000), st.floats(100, 800))
def test_elo_is_the_naive_loop(rows, k, initial, scale):
    data = rateable(rows)
    found = elo(*data, k=k, initial=initial, scale=scale)
    for model, value in naive_elo(*data, k, initial, scale).items():
        assert found[model] == pytest.approx(value, abs=1e-9)
    assert found.values.mean() == pytest.approx(initial, abs=1e-9)


def test_elo_over_many_rows_is_the_naive_loop_and_evalicas():
    *data, _ = simulated(20_000)
    found = elo(*data)
    expected = naive_elo(*data)
    assert max(abs(found[model] - value) for model, value in expected.items()) < 1e-9
    winners = [{1.0: evalica.Winner.X, 0.0: evalica.Winner.Y, 0.5: evalica.Winner.Draw}[v] for v in data[2]]
    theirs = evalica.elo(data[0].tolist(), data[1].tolist(), winners, initial=1000, scale=400, k=32).scores
    different = {model: theirs[model] for model in found.models}
    assert found.as_dict() == pytest.approx(different, abs=1e-9)


def test_elo_by_hand():
    found = elo(["a", "a"], ["b", "b"], [1, 0.5])
    first = 16  # 32 * (1 - 0.5)
    second = 32 * (0.5 - 1 / (1 + 10 ** (-2 * first / 400)))
    assert found["a"] == pytest.approx(1000 + first + second)
    assert found.ranked() == [("a", found["a"]), ("b", found["b"])]
    assert found.comparisons.tolist() == [2, 2]


@given(rows)
def test_swapping_the_sides_changes_nothing(rows):
    model_0, model_1, label_0 = rateable(rows)
    swapped = (model_1, model_0, [1 - label for label in label_0])
    assert elo(*swapped).values == pytest.approx(elo(model_0, model_1, label_0).values, abs=1e-9)


def test_shuffled_elo_is_the_mean_over_orders():
    model_0, model_1, label_0, _ = simulated(400)
    found = elo_shuffled(model_0, model_1, label_0, shuffles=30, seed=4)
    rng = np.random.default_rng(4)
    different = model_0 != model_1
    data = [column[different] for column in (model_0, model_1, label_0)]
    orders = []
    for _ in range(30):
        order = rng.permutation(len(data[0]))
        ratings = naive_elo(*(column[order] for column in data))
        orders.append([ratings[model] for model in found.models])
    assert found.mean == pytest.approx(np.mean(orders, axis=0), abs=1e-9)
    assert found.std == pytest.approx(np.std(orders, axis=0, ddof=1), abs=1e-9)
    with pytest.raises(InputError, match="at least 2 shuffles"):
        elo_shuffled(model_0, model_1, label_0, shuffles=1)


def choix_strengths(model_0, model_1, label_0, models):
    """Choix knows no ties: every row twice, a tie once each way."""
    number = {model: i for i, model in enumerate(models)}
    data = []
    for a, b, label in zip(model_0, model_1, label_0, strict=True):
        if a != b:
            pair = (number[a], number[b])
            data += {1.0: [pair] * 2, 0.0: [pair[::-1]] * 2, 0.5: [pair, pair[::-1]]}[label]
    return choix.ilsr_pairwise(len(models), data, max_iter=1000, tol=1e-12)


def test_bradley_terry_is_choixs_and_evalicas():
    *data, strength = simulated()
    found = bradley_terry(*data)
    assert found.values == pytest.approx(choix_strengths(*data, found.models), abs=1e-6)
    different = data[0] != data[1]
    winners = [
        {1.0: evalica.Winner.X, 0.0: evalica.Winner.Y, 0.5: evalica.Winner.Draw}[v]
        for v in data[2][different]
    ]
    theirs = evalica.bradley_terry(
        data[0][different].tolist(), data[1][different].tolist(), winners, tolerance=1e-12, limit=10_000
    ).scores
    logs = np.log([theirs[model] for model in found.models])
    assert found.values == pytest.approx(logs - logs.mean(), abs=1e-6)
    assert np.abs(found.values - strength).max() < 0.35


@given(rows)
def test_bradley_terry_satisfies_its_equation_or_says_why_not(rows):
    data = rateable(rows)
    try:
        found = bradley_terry(*data)
    except InputError:
        wins = comparisons(*data).wins() > 0
        reach = np.linalg.matrix_power(wins.astype(int) + np.eye(len(wins), dtype=int), len(wins)) > 0
        assert not reach.all()
        return
    wins = comparisons(*data).wins()
    chance = 1 / (1 + np.exp(found.values[None, :] - found.values[:, None]))
    # At the maximum each model wins as often as its strength says it should.
    assert (chance * (wins + wins.T)).sum(axis=1) == pytest.approx(wins.sum(axis=1), abs=1e-6)
    assert found.values.sum() == pytest.approx(0, abs=1e-9)


def test_two_models_have_a_closed_form():
    found = bradley_terry(["a"] * 10, ["b"] * 10, [1] * 6 + [0] * 2 + [0.5] * 2)
    assert found["a"] - found["b"] == pytest.approx(math.log(7 / 3))
    assert elo_scale(found.values)[0] == pytest.approx(1000 + 200 * math.log10(7 / 3))
    assert pytest.approx(400 / math.log(10)) == ELO_POINTS


def test_extreme_counts_still_settle():
    found = bradley_terry(["a"] * 100_001, ["b"] * 100_001, [1] * 100_000 + [0])
    assert found["a"] - found["b"] == pytest.approx(math.log(100_000))


def test_prior_ties_keep_ratings_finite():
    found = bradley_terry(["a", "c"], ["b", "c"], [1, 1], prior_ties=1)
    assert found["a"] > found["c"] > found["b"]
    with pytest.raises(InputError, match="cannot be negative"):
        bradley_terry(["a"], ["b"], [1], prior_ties=-1)


def test_intervals_are_those_of_resampled_rows():
    """Drawing counts is drawing rows: a plain bootstrap over rows gives the same intervals."""
    model_0, model_1, label_0, _ = simulated(600, m=4)
    found = bootstrap(model_0, model_1, label_0, resamples=2000)
    rng = np.random.default_rng(1)
    made = comparisons(model_0, model_1, label_0)
    names = np.array(made.models)
    draws = []
    for _ in range(400):
        rows = rng.integers(0, len(made.label_0), len(made.label_0))
        draw = bradley_terry(names[made.first[rows]], names[made.second[rows]], made.label_0[rows])
        draws.append(draw.values)
    low, high = np.quantile(draws, [0.025, 0.975], axis=0)
    assert found.low == pytest.approx(low, abs=0.06)
    assert found.high == pytest.approx(high, abs=0.06)
    assert found.values == pytest.approx(bradley_terry(model_0, model_1, label_0).values)
    again = bootstrap(model_0, model_1, label_0, resamples=2000)
    assert (again.draws == found.draws).all()


def test_intervals_cover_the_true_strengths():
    inside, total = 0, 0
    for seed in range(60):
        *data, strength = simulated(1500, m=5, seed=seed, ties=0)
        found = bootstrap(*data, resamples=300, seed=seed)
        inside += ((found.low <= strength) & (strength <= found.high)).sum()
        total += 5
    assert 0.91 <= inside / total <= 0.985


def test_elo_intervals_hold_the_estimate():
    *data, _ = simulated(2000)
    found = bootstrap(*data, method="elo", resamples=200)
    mean = elo_shuffled(*data).mean
    assert (found.low < mean).all()
    assert (mean < found.high).all()


def test_models_left_out_of_a_draw_do_no_harm():
    found = bootstrap(["a", "b", "c", "a"], ["b", "c", "a", "c"], [1, 1, 1, 0.5], resamples=200)
    assert np.isfinite(found.draws).all()
    assert (found.high - found.low > 2).all()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (([], [], []), "no comparisons"),
        ((["a", "a"], ["a", "a"], [1, 0]), "there is only one: a"),
        ((["a", "b"], ["a", "b"], [1, 0]), "every comparison is of a model with itself"),
        ((["a", "b"], ["b"], [1, 0]), "model_0 has 2 rows, model_1 1, label_0 2"),
        ((["a", "b"], ["b", "a"], [1, float("nan")]), "label_0 is nan in row 1"),
        ((["a", "b"], ["b", "a"], [1, 0.3]), "label_0 is 0.3 in row 1"),
        ((["a", None], ["b", "a"], [1, 0]), "1 comparisons lack the name"),
    ],
)
def test_unusable_comparisons_are_explained(data, says):
    for method in (elo, bradley_terry, bootstrap, elo_shuffled):
        with pytest.raises(InputError, match=says):
            method(*data)


def test_ratings_that_do_not_exist_are_explained():
    with pytest.raises(InputError, match=r"never compared with one another: a, b \| c, d"):
        bradley_terry(["a", "b", "c", "d"], ["b", "a", "d", "c"], [1, 1, 1, 1])
    with pytest.raises(InputError, match=r"^a never lost to the other models"):
        bradley_terry(["a", "a", "b", "c"], ["b", "c", "c", "b"], [1, 1, 1, 1])
    with pytest.raises(InputError, match="k and scale must be positive"):
        elo(["a"], ["b"], [1], k=0)
    with pytest.raises(InputError, match="no rating method 'glicko'"):
        bootstrap(["a", "b"], ["b", "a"], [1, 1], method="glicko")
    with pytest.raises(InputError, match="resamples and a level"):
        bootstrap(["a", "b"], ["b", "a"], [1, 1], resamples=1)


def test_names_may_come_as_arrow_columns():
    model_0, model_1, label_0, _ = simulated(100)
    arrow = [pa.chunked_array([column[:30].tolist(), column[30:].tolist()]) for column in (model_0, model_1)]
    assert elo(*arrow, label_0).as_dict() == elo(model_0, model_1, label_0).as_dict()


def test_the_package_exports_functions():
    assert callable(pickapic.ratings.elo)
    assert callable(pickapic.ratings.bradley_terry)
    assert callable(pickapic.ratings.bootstrap)


def test_win_rates_count_ties_as_half():
    made = comparisons(["a", "a", "b", "a"], ["b", "b", "c", "a"], [1, 0.5, 0, 1])
    assert made.win_rates().tolist() == pytest.approx([0.75, 0.5 / 3, 1.0])
    assert made.counts().tolist() == [2, 3, 1]
