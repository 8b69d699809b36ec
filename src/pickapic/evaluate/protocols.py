"""The one rule for ties: how a predicted probability becomes a pick, and how a pick is marked.

The paper's protocol: predict a tie where |p_0 - p_1| <= t, else the image with the larger probability. A
right prediction earns 1 point, one where exactly one of prediction and label is a tie 0.5, the rest 0. The
threshold t is the scorer's own, chosen on validation data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pickapic.records import InputError

PAPER = "paper"
"""The protocol's name, as stamped on results."""

GRID = tuple(step / 10 for step in range(11))
"""The paper's thresholds. Divided, not summed, so that 0.3 is the number that a reader types."""

Floats = NDArray[np.float64]


def tie_aware_accuracy(prob_0: ArrayLike, label_0: ArrayLike, threshold: float) -> float:
    """Return the mean points of predictions, in 0..1.

    Args:
        prob_0: (n,) probability that image 0 is preferred, in 0..1; that of image 1 is 1 - prob_0.
        label_0: (n,) 1 (image 0 preferred), 0 (image 1) or 0.5 (a tie).
        threshold: largest difference of the probabilities that is still called a tie.

    Raises:
        InputError: nothing given, lengths differ, a probability is NaN or outside 0..1, another label.
    """
    return float(points(prob_0, label_0, threshold).mean())


def choose_threshold(prob_0: ArrayLike, label_0: ArrayLike, grid: Sequence[float] = GRID) -> float:
    """Return the threshold with the best accuracy, the first of them on the grid if there are several.

    Raises:
        InputError: as `tie_aware_accuracy`, or an empty grid.
    """
    probabilities, labels = _checked(prob_0, label_0)
    return first_best(grid, lambda threshold: float(_points(probabilities, labels, threshold).mean()))


def always_tie_floor(label_0: ArrayLike) -> float:
    """Return what calling every pair a tie scores: 0.5 + (share of ties) / 2.

    Raises:
        InputError: no labels, or one that is not 0, 0.5 or 1.
    """
    return 0.5 + float((checked_labels(label_0) == 0.5).mean()) / 2


def random_accuracy(label_0: ArrayLike, threshold: float) -> float:
    """Return the expected accuracy of a scorer that says "tie" with probability `threshold` and else guesses.

    Raises:
        InputError: as `always_tie_floor`.
    """
    return float(random_points(label_0, threshold).mean())


def points(prob_0: ArrayLike, label_0: ArrayLike, threshold: float) -> Floats:
    """Return the points of each prediction, (n,): 1, 0.5 or 0. Otherwise as `tie_aware_accuracy`."""
    return _points(*_checked(prob_0, label_0), threshold)


def random_points(label_0: ArrayLike, threshold: float) -> Floats:
    """Return the expected points of the random scorer, (n,): a decided pair earns 0.5 whatever it says."""
    return 0.5 + 0.5 * threshold * (checked_labels(label_0) == 0.5)


def predicted_labels(prob_0: ArrayLike, threshold: float) -> Floats:
    """Return the predictions as labels, (n,): 1 (image 0), 0 (image 1) or 0.5 (a tie).

    Raises:
        InputError: no probabilities, or one that is NaN or outside 0..1.
    """
    return _predicted(checked_probabilities(prob_0), threshold)


def first_best(grid: Sequence[float], accuracy: Callable[[float], float]) -> float:
    """Return the first threshold of `grid` with the highest accuracy.

    Raises:
        InputError: an empty grid.
    """
    if not grid:
        raise InputError("there is no threshold to choose from: the grid is empty")
    return float(max(grid, key=accuracy))


def checked_labels(label_0: ArrayLike) -> Floats:
    """Return labels as float64 (n,).

    Raises:
        InputError: none, or one that is not 0, 0.5 or 1.
    """
    labels = np.asarray(label_0, dtype=np.float64)
    if labels.ndim != 1 or not len(labels):
        raise InputError("there are no labels to evaluate: the split is empty")
    wrong = np.flatnonzero(~np.isin(labels, (0.0, 0.5, 1.0)))
    if len(wrong):
        raise InputError(f"label_0 is {labels[wrong[0]]:g} in row {wrong[0]:,}; it must be 0, 0.5 or 1")
    return labels


def checked_probabilities(prob_0: ArrayLike) -> Floats:
    """Return probabilities as float64 (n,).

    Raises:
        InputError: none, or one that is NaN or outside 0..1.
    """
    probabilities = np.asarray(prob_0, dtype=np.float64)
    if probabilities.ndim != 1 or not len(probabilities):
        raise InputError("there are no probabilities to evaluate")
    wrong = np.flatnonzero(~((probabilities >= 0) & (probabilities <= 1)))
    if len(wrong):
        raise InputError(
            f"prob_0 is {probabilities[wrong[0]]:g} in row {wrong[0]:,}, not in 0..1 (one of {len(wrong):,} "
            "such rows); NaN comes from a broken scorer or image"
        )
    return probabilities


def _checked(prob_0: ArrayLike, label_0: ArrayLike) -> tuple[Floats, Floats]:
    labels, probabilities = checked_labels(label_0), checked_probabilities(prob_0)
    if len(labels) != len(probabilities):
        raise InputError(f"there are {len(probabilities):,} probabilities for {len(labels):,} labels")
    return probabilities, labels


def _points(probabilities: Floats, labels: Floats, threshold: float) -> Floats:
    # Labels are 0, 0.5 and 1, so the distance is 0 if right, 0.5 if one of the two is a tie, 1 if opposite.
    return 1 - np.abs(_predicted(probabilities, threshold) - labels)


def _predicted(probabilities: Floats, threshold: float) -> Floats:
    # The difference is taken as the reference takes it, p_0 - (1 - p_0): in floating point 2 * p_0 - 1 may
    # fall on the other side of the threshold.
    other = 1 - probabilities
    tie = np.abs(probabilities - other) <= threshold
    return np.where(tie, 0.5, (probabilities > other).astype(np.float64))
