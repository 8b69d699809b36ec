"""How often a scorer predicts what people picked: the paper's table, with intervals and paired tests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pickapic.evaluate.intervals import (
    RESAMPLES,
    Captions,
    bootstrap_means,
    by_prompt,
    interval,
    sign_flip_p_value,
)
from pickapic.evaluate.protocols import (
    GRID,
    PAPER,
    always_tie_floor,
    checked_labels,
    choose_threshold,
    first_best,
    points,
    random_accuracy,
    random_points,
)
from pickapic.evaluate.results import PairedTest, PreferenceResult
from pickapic.records import InputError

RANDOM = "random"


@dataclass(frozen=True, slots=True)
class Judgements:
    """People's picks in one split: `label_0` (n,) in 1, 0, 0.5 and the prompt of each row."""

    split: str
    label_0: ArrayLike
    captions: Captions


def evaluate_preferences(
    scorer: str,
    validation: Judgements,
    validation_prob_0: ArrayLike,
    test: Judgements,
    test_prob_0: ArrayLike,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> PreferenceResult:
    """Return a scorer's accuracy on `test` by the paper's protocol; its threshold comes from `validation`.

    Args:
        scorer: name for the table.
        validation: usually the split `validation_unique`.
        validation_prob_0: (n,) the scorer's probability that image 0 is preferred, for its rows.
        test: the split that is reported.
        test_prob_0: the same for the rows of `test`.
        resamples: draws of the bootstrap.
        seed: of the bootstrap.

    Raises:
        InputError: a split is empty, has ties only or one class only, lengths differ, a probability is NaN.
    """
    _check(validation)
    _check(test)
    threshold = choose_threshold(validation_prob_0, validation.label_0)
    return _result(scorer, test, threshold, points(test_prob_0, test.label_0, threshold), resamples, seed)


def evaluate_random(
    validation: Judgements, test: Judgements, *, resamples: int = RESAMPLES, seed: int = 0
) -> PreferenceResult:
    """Return the expected accuracy of guessing, as the authors' code reports it.

    The random scorer says "tie" with probability t and else guesses; t is chosen on `validation` as every
    scorer's threshold is. Where there are ties the best t is 1: the row is the always-tie floor.

    Raises:
        InputError: as `evaluate_preferences`.
    """
    _check(validation)
    _check(test)
    threshold = first_best(GRID, lambda t: random_accuracy(validation.label_0, t))
    return _result(RANDOM, test, threshold, random_points(test.label_0, threshold), resamples, seed)


def paired_test(
    scorer_a: str,
    points_a: ArrayLike,
    scorer_b: str,
    points_b: ArrayLike,
    captions: Captions,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> PairedTest:
    """Compare two scorers on the same rows: a - b, bootstrap interval, permutation p-value, all by prompt.

    `points_a` and `points_b` (n,) are `protocols.points(...)` (or `random_points`) of the same rows.

    Raises:
        InputError: lengths differ, a value is NaN, or there are fewer than two prompts.
    """
    a, b = (np.asarray(value, dtype=np.float64) for value in (points_a, points_b))
    clusters = by_prompt(captions)
    if not len(a) == len(b) == len(clusters.codes):
        raise InputError(f"{scorer_a} has {len(a):,} rows, {scorer_b} {len(b):,}, of {len(clusters.codes):,}")
    if np.isnan(a).any() or np.isnan(b).any():
        raise InputError(f"the points of {scorer_a if np.isnan(a).any() else scorer_b} are NaN")
    difference = a - b
    low, high = interval(bootstrap_means(difference, clusters, resamples, seed))
    p_value = sign_flip_p_value(difference, clusters, seed=seed)
    return PairedTest(scorer_a, scorer_b, float(difference.mean()), low, high, p_value)


def _result(
    scorer: str, test: Judgements, threshold: float, marks: NDArray[np.float64], resamples: int, seed: int
) -> PreferenceResult:
    clusters = by_prompt(test.captions)
    if len(clusters.codes) != len(marks):
        raise InputError(
            f"the split {test.split} has {len(marks):,} labels for {len(clusters.codes):,} prompts"
        )
    low, high = interval(bootstrap_means(marks, clusters, resamples, seed))
    labels = checked_labels(test.label_0)
    return PreferenceResult(
        scorer=scorer,
        protocol=PAPER,
        split=test.split,
        n=len(marks),
        prompts=clusters.count,
        ties=int((labels == 0.5).sum()),
        threshold=threshold,
        accuracy=float(marks.mean()),
        low=low,
        high=high,
        floor=always_tie_floor(labels),
    )


def _check(judgements: Judgements) -> None:
    """Refuse labels of which no accuracy means anything."""
    try:
        kinds = np.unique(checked_labels(judgements.label_0))
    except InputError as error:
        raise InputError(f"split {judgements.split}: {error}") from error
    if len(kinds) == 1:
        only = {0.0: "picks image 1", 0.5: "is a tie", 1.0: "picks image 0"}[float(kinds[0])]
        raise InputError(
            f"split {judgements.split}: every one of its {np.size(judgements.label_0):,} rows {only}; "
            "an accuracy on one class says nothing"
        )
