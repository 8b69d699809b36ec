"""What an evaluation found: the records that tables, `--json` and the report are made from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PreferenceResult:
    """How well one scorer predicts people's picks under one named protocol.

    `accuracy`, `low`, `high` (a 95 % bootstrap interval clustered by prompt) and `floor` (always saying "tie")
    are shares in 0..1. `threshold` is the tie threshold that was applied, None where the protocol has none.
    """

    scorer: str
    protocol: str
    split: str
    n: int
    prompts: int
    ties: int
    threshold: float | None
    accuracy: float
    low: float
    high: float
    floor: float


@dataclass(frozen=True, slots=True)
class PairedTest:
    """The difference in accuracy between two scorers on the same examples: a - b, with interval and p-value."""

    scorer_a: str
    scorer_b: str
    difference: float
    low: float
    high: float
    p_value: float


@dataclass(frozen=True, slots=True)
class ModelRating:
    """One model's standing in one set of preferences (people's, or those a scorer predicts)."""

    model: str
    comparisons: int
    win_rate: float
    rating: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ModelRatings:
    """All models by one judge, with the Spearman correlation to people's ratings (None for people themselves)."""

    judge: str
    method: str
    models: tuple[ModelRating, ...]
    spearman: float | None


@dataclass(frozen=True, slots=True)
class TrainingPoint:
    """One step of a training run; the validation figures are None on steps without validation."""

    step: int
    loss: float
    validation_loss: float | None
    validation_accuracy: float | None


@dataclass(frozen=True, slots=True)
class ExampleResult:
    """One judged pair beside what a scorer said. Images are encoded (JPEG or PNG)."""

    prompt: str
    image_0: bytes
    image_1: bytes
    model_0: str
    model_1: str
    label_0: float
    prob_0: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything the report shows. `command`, `versions` and `seconds` (by stage) make it reproducible."""

    title: str
    preferences: tuple[PreferenceResult, ...]
    tests: tuple[PairedTest, ...]
    ratings: tuple[ModelRatings, ...]
    training: tuple[TrainingPoint, ...]
    best_examples: tuple[ExampleResult, ...]
    worst_examples: tuple[ExampleResult, ...]
    facts: tuple[tuple[str, str], ...]
    command: str
    versions: tuple[tuple[str, str], ...]
    seconds: tuple[tuple[str, float], ...]
