"""What people who look would answer: recovered from rounds that were drawn by it."""

import numpy as np
import pytest
from scipy.optimize import minimize

from pickapic.collect.quality.answers import Answers
from pickapic.collect.quality.norms import (
    MODEL_PRIOR,
    NO_NORMS,
    STAGE_PRIOR,
    STAGES,
    Kind,
    Norms,
    fit,
    stage_of,
)

MODELS = ("a", "b", "c")
TRUE = Norms((0.4, 0.6, 0.8, 1.0, 1.2), (("a", 0.7), ("b", 0.0), ("c", -0.7)), 0)


def kinds(count=4000, seed=0):
    rng = np.random.default_rng(seed)
    strength = dict(TRUE.strengths)
    made = []
    for left in MODELS:
        for right in MODELS:
            for incumbent in (-1, 0, 1):
                for stage in range(len(STAGES)) if incumbent else (0,):
                    odds = incumbent * TRUE.stages[stage] + strength[left] - strength[right]
                    made.append(
                        Kind(
                            left, right, incumbent, stage, count, rng.binomial(count, 1 / (1 + np.exp(-odds)))
                        )
                    )
    return made


def test_what_made_the_rounds_is_found_again():
    found = fit(kinds())
    assert found.stages == pytest.approx(TRUE.stages, abs=0.05)
    assert dict(found.strengths) == pytest.approx(dict(TRUE.strengths), abs=0.05)
    assert found.rounds == sum(kind.count for kind in kinds())


def test_the_fit_is_the_maximum_of_the_posterior():
    some = kinds(count=30, seed=1)
    found = fit(some)

    def loss(weights):
        stages, strengths = weights[: len(STAGES)], dict(zip(MODELS, weights[len(STAGES) :], strict=True))
        total = STAGE_PRIOR * (stages**2).sum() / 2 + MODEL_PRIOR * sum(s**2 for s in strengths.values()) / 2
        for kind in some:
            odds = (
                kind.incumbent * stages[kind.stage] + strengths[kind.left_model] - strengths[kind.right_model]
            )
            total += kind.count * np.logaddexp(0, odds) - kind.left * odds
        return total

    slow = minimize(loss, np.zeros(len(STAGES) + len(MODELS))).x
    assert [*found.stages, *dict(found.strengths).values()] == pytest.approx(slow, abs=1e-3)


def one_answer(left, right, incumbent, number):
    column = np.array([0.0])
    return Answers(
        picked_at=column,
        seconds=column,
        pick=np.array([1], np.int8),
        incumbent=np.array([incumbent], np.int8),
        gold=np.array([0], np.int8),
        number=np.array([number]),
        session=np.array([1]),
        left_model=np.array([0]),
        right_model=np.array([1]),
        models=(left, right),
    )


def test_chances():
    chance = TRUE.left_chance(one_answer("a", "c", 1, 9))[0]
    assert chance == pytest.approx(1 / (1 + np.exp(-(1.2 + 1.4))))
    mirrored = TRUE.left_chance(one_answer("c", "a", -1, 9))[0]
    assert chance + mirrored == pytest.approx(1)
    assert TRUE.left_chance(one_answer("new", "newer", 0, 1))[0] == 0.5
    assert NO_NORMS.left_chance(one_answer("a", "c", 1, 9))[0] == 0.5
    assert fit([]) == NO_NORMS


def test_little_data_expects_little():
    found = fit([Kind("a", "b", 1, 0, 3, 3)])
    assert 0.5 < found.left_chance(one_answer("a", "b", 1, 2))[0] < 0.62


def test_stages():
    assert stage_of(np.array([1, 2, 3, 4, 5, 6, 8, 9, 50])).tolist() == [0, 0, 1, 2, 2, 3, 3, 4, 4]
