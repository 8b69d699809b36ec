"""One call of a scorer for many requests: what is wrong with one of them costs the others nothing."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pickapic.records import InputError
from pickapic.web.uploads import fault


class Scorer(Protocol):
    """What is needed here of `pickapic.scorers.scorer.Scorer`."""

    @property
    def name(self) -> str:
        """Name shown in answers."""
        ...

    def score(self, prompts: Sequence[str], images: Sequence[bytes]) -> Any:
        """Return one score a row: prompts[i] with images[i]."""
        ...


class Asked(Protocol):
    """A request: images in encoded form, all for one prompt."""

    @property
    def prompt(self) -> str:
        """What the images should show."""
        ...

    @property
    def images(self) -> Sequence[bytes]:
        """At least one."""
        ...


@dataclass(frozen=True, slots=True)
class Scored:
    """One score an image, in the order of the request."""

    scorer: str
    scores: list[float]


def score_together(scorer: Scorer, group: Sequence[Asked]) -> list[Scored]:
    """Score all images of all requests in one call.

    Raises:
        InputError: the scorer refuses one of them, or gives one no number.
    """
    prompts = [request.prompt for request in group for _ in request.images]
    images = [image for request in group for image in request.images]
    scores = [float(score) for score in scorer.score(prompts, images)]
    if not all(map(math.isfinite, scores)):
        raise InputError(f"The scorer {scorer.name} gave no number for an image.")
    answers: list[Scored] = []
    start = 0
    for request in group:
        answers.append(Scored(scorer.name, scores[start : start + len(request.images)]))
        start += len(request.images)
    return answers


def score_apart(
    call: Callable[[Sequence[Asked]], Sequence[Scored]], group: Sequence[Asked]
) -> Sequence[Scored | Exception]:
    """Return an answer a request, or why it has none: together if that works, and apart where it does not.

    Args:
        call: scores requests together (`score_together`).
        group: at least one.
    """
    try:
        return call(group)
    except Exception as error:
        if len(group) == 1 and not isinstance(error, InputError):
            return [error]
    # One bad image must cost the others nothing: whose is it?
    faults = [fault(request.images) for request in group]
    good = [request for request, found in zip(group, faults, strict=True) if found is None]
    scored = iter(_rest(call, good, len(good) < len(group)))
    return [next(scored) if found is None else InputError(found) for found in faults]


def _rest(
    call: Callable[[Sequence[Asked]], Sequence[Scored]], group: Sequence[Asked], together: bool
) -> Sequence[Scored | Exception]:
    if together and group:
        with contextlib.suppress(Exception):
            return call(group)
    answers: list[Scored | Exception] = []
    for request in group:
        try:
            answers += call([request])
        except Exception as error:
            answers.append(error)
    return answers
