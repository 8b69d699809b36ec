"""What people who look would answer: how often the image they kept wins again, and how often each model wins.

A logistic model of decided rounds: log-odds of left = (how the kept image fares, by the round's number) + (strength
of the left model - strength of the right). It is fitted to everybody's rounds, counted by kind, with Gaussian
priors at zero: without data it expects chance, so that nobody is doubted for want of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pickapic.collect.quality.answers import Answers, Codes, Numbers

STAGES = (2, 3, 4, 6, 9)
"""First round numbers of the stages of a duel: the later, the better the kept image has proved to be."""
STAGE_PRIOR = 10.0
MODEL_PRIOR = 10.0
STEPS = 25
ENOUGH = 1e-9


@dataclass(frozen=True, slots=True)
class Kind:
    """`count` decided rounds alike in all that norms know, and in how many of them left was picked."""

    left_model: str
    right_model: str
    incumbent: int
    """1: left was kept from the round before; -1: right; 0: neither."""
    stage: int
    """Index into `STAGES`; of no meaning without an incumbent."""
    count: int
    left: int


@dataclass(frozen=True, slots=True)
class Norms:
    """The fitted log-odds."""

    stages: tuple[float, ...] = (0.0,) * len(STAGES)
    strengths: tuple[tuple[str, float], ...] = ()
    rounds: int = 0

    def left_chance(self, answers: Answers) -> Numbers:
        """Return the chance that somebody who looks, and decides, picks left, for each answer: (n,) in 0..1."""
        known = dict(self.strengths)
        strength = np.array([known.get(model, 0.0) for model in answers.models] or [0.0])
        kept = np.array(self.stages)[stage_of(answers.number)] * answers.incumbent
        return 1 / (1 + np.exp(-(kept + strength[answers.left_model] - strength[answers.right_model])))


NO_NORMS = Norms()


def stage_of(number: Codes) -> Codes:
    """Return the stage of a duel that a round's number belongs to (the first one for round 1 as well)."""
    return np.maximum(np.searchsorted(np.array(STAGES), number, side="right") - 1, 0)


def fit(kinds: Sequence[Kind]) -> Norms:
    """Fit the norms to everybody's decided rounds: maximum a posteriori by Newton's method."""
    if not kinds:
        return NO_NORMS
    models = sorted({name for kind in kinds for name in (kind.left_model, kind.right_model)})
    column = {name: len(STAGES) + index for index, name in enumerate(models)}
    design = np.zeros((len(kinds), len(STAGES) + len(models)))
    for row, kind in enumerate(kinds):
        if kind.incumbent:
            design[row, kind.stage] = kind.incumbent
        design[row, column[kind.left_model]] += 1
        design[row, column[kind.right_model]] -= 1
    count = np.array([kind.count for kind in kinds], float)
    left = np.array([kind.left for kind in kinds], float)
    prior = np.array([STAGE_PRIOR] * len(STAGES) + [MODEL_PRIOR] * len(models))
    weights = np.zeros(design.shape[1])
    for _ in range(STEPS):
        chance = 1 / (1 + np.exp(-design @ weights))
        gradient = design.T @ (left - count * chance) - prior * weights
        curvature = (design.T * (count * chance * (1 - chance))) @ design + np.diag(prior)
        step = np.linalg.solve(curvature, gradient)
        weights += step
        if np.abs(step).max() < ENOUGH:
            break
    found = [float(weight) for weight in weights]
    return Norms(
        tuple(found[: len(STAGES)]), tuple(zip(models, found[len(STAGES) :], strict=True)), int(count.sum())
    )
