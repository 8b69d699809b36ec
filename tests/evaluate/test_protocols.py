import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pickapic.evaluate.protocols import (
    GRID,
    always_tie_floor,
    choose_threshold,
    points,
    predicted_labels,
    random_accuracy,
    tie_aware_accuracy,
)
from pickapic.records import InputError

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "tie_accuracy.json").read_text())


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: f"n={len(case['label_0'])}")
def test_golden_values_of_the_authors_code(case):
    assert list(GRID) == case["thresholds"]
    for threshold, accuracy, random in zip(case["thresholds"], case["accuracy"], case["random"], strict=True):
        assert tie_aware_accuracy(case["prob_0"], case["label_0"], threshold) == accuracy
        assert random_accuracy(case["label_0"], threshold) == pytest.approx(random, abs=1e-14)
    best = case["thresholds"][int(np.argmax(case["accuracy"]))]
    assert choose_threshold(case["prob_0"], case["label_0"]) == best
    assert always_tie_floor(case["label_0"]) == pytest.approx(case["random"][-1], abs=1e-14)


def test_the_grid_is_made_of_the_numbers_a_reader_types():
    assert GRID == (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1)


def slow_points(prob_0, label_0, threshold):
    """The rule in its own words."""
    prob_1 = 1 - prob_0
    prediction = "tie" if abs(prob_0 - prob_1) <= threshold else (0 if prob_0 > prob_1 else 1)
    label = {1.0: 0, 0.0: 1, 0.5: "tie"}[label_0]
    if prediction == label:
        return 1.0
    return 0.5 if "tie" in (prediction, label) else 0.0


probabilities = st.one_of(
    st.floats(0, 1), st.sampled_from([0.0, 0.05, 0.35, 0.45, 0.5, 0.55, 0.65, 0.85, 1.0])
)
rows = st.lists(st.tuples(probabilities, st.sampled_from([0.0, 0.5, 1.0])), min_size=1, max_size=30)


@given(rows, st.sampled_from(GRID))
def test_points_follow_the_rule_word_for_word(rows, threshold):
    prob_0, label_0 = zip(*rows, strict=True)
    expected = [slow_points(p, label, threshold) for p, label in rows]
    assert points(prob_0, label_0, threshold).tolist() == expected


@given(rows)
def test_threshold_is_the_first_best(rows):
    prob_0, label_0 = zip(*rows, strict=True)
    accuracies = [tie_aware_accuracy(prob_0, label_0, t) for t in GRID]
    assert choose_threshold(prob_0, label_0) == GRID[accuracies.index(max(accuracies))]
    assert max(accuracies) >= always_tie_floor(label_0)


@given(rows, st.sampled_from(GRID))
def test_swapping_the_images_changes_nothing(rows, threshold):
    prob_0, label_0 = (np.array(column) for column in zip(*rows, strict=True))
    other = 1 - prob_0
    # 1 - (1 - p) is p only where the subtraction is exact; elsewhere the threshold may fall between the two.
    exact = 1 - other == prob_0
    forward = points(prob_0, label_0, threshold)[exact]
    assert forward.tolist() == points(other, 1 - label_0, threshold)[exact].tolist()


def test_random_accuracy_is_what_guessing_earns_on_average():
    rng = np.random.default_rng(0)
    labels = rng.choice([0.0, 0.5, 1.0], 200)
    for threshold in (0.0, 0.3, 1.0):
        drawn = []
        for _ in range(500):
            guess = np.where(rng.random(200) < threshold, 0.5, rng.integers(0, 2, 200))
            drawn.append((1 - np.abs(guess - labels)).mean())
        assert random_accuracy(labels, threshold) == pytest.approx(np.mean(drawn), abs=0.005)


def test_predicted_labels():
    assert predicted_labels([0.9, 0.5, 0.1, 0.55], 0.2).tolist() == [1.0, 0.5, 0.0, 0.5]
    assert predicted_labels(np.float32([0.5000001, 0.5]), 0).tolist() == [1.0, 0.5]


@pytest.mark.parametrize(
    ("prob_0", "label_0", "says"),
    [
        ([], [], "split is empty"),
        ([0.5], [0.7], "label_0 is 0.7 in row 0"),
        ([0.5, float("nan")], [1, 0], "prob_0 is nan in row 1"),
        ([0.5, 1.5], [1, 0], "prob_0 is 1.5 in row 1"),
        ([0.5], [1, 0], "1 probabilities for 2 labels"),
    ],
)
def test_bad_input_is_explained(prob_0, label_0, says):
    with pytest.raises(InputError, match=says):
        tie_aware_accuracy(prob_0, label_0, 0.1)
    with pytest.raises(InputError, match=says):
        choose_threshold(prob_0, label_0)


def test_an_empty_grid_is_refused():
    with pytest.raises(InputError, match="grid is empty"):
        choose_threshold([0.5], [1], grid=())
