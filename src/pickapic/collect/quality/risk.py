"""The risk of a person: all reasons for doubt in one number."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from pickapic.collect.quality.answers import Answers
from pickapic.collect.quality.norms import Norms
from pickapic.collect.quality.policy import Policy
from pickapic.collect.quality.signals import SIGNALS, Reason


@dataclass(frozen=True, slots=True)
class Risk:
    """How far somebody's answers are to be doubted: 0 to 100, the reasons (strongest first), answers looked at."""

    score: float
    reasons: tuple[Reason, ...]
    answers: int


def assess(answers: Answers, norms: Norms, policy: Policy) -> Risk:
    """Return the risk of a person from their answers."""
    found = [reason for signal in SIGNALS if (reason := signal(answers, norms, policy))]
    reasons = tuple(sorted(found, key=lambda reason: (-reason.points, reason.signal)))
    return Risk(combined(reason.points for reason in reasons), reasons, len(answers))


def combined(points: Iterable[float]) -> float:
    """Return 100 (1 - product of (1 - points / 100)), to a tenth: reasons add up, and never to more than 100.

    As if each were the chance that the person does not look, and all were independent. More of any never
    lowers the score; two doubts of 30 make 51.
    """
    # In one order, so that rounding is the same for every order they come in.
    cleared = (1 - min(100.0, max(0.0, one)) / 100 for one in sorted(points))
    return round(100 * (1 - math.prod(cleared)), 1)


def to_json(reasons: Iterable[Reason]) -> str:
    """Return reasons as the text that is stored."""
    return json.dumps([asdict(reason) for reason in reasons], ensure_ascii=False)


def from_json(text: str) -> tuple[Reason, ...]:
    """Return the reasons in a stored text."""
    return tuple(Reason(**item) for item in json.loads(text))
