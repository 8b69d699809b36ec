"""What flows between the parts: small frozen records, standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Pick = Literal["left", "right", "tie"]
"""A person's answer to a round, in the words of the page."""

Side = Literal["left", "right"]


class InputError(ValueError):
    """What the user gave cannot be used.

    The message is shown as it is, without a traceback: it says what happened, what is kept, and what to do.
    """


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """How one stored image was made.

    `guidance_scale` is None where the generator has none. `uid` is the dataset's image uid. `spoiled`: the
    image that everybody should find worse in a check round.
    """

    uid: str
    prompt: str
    negative_prompt: str
    model: str
    seed: int
    guidance_scale: float | None
    steps: int | None
    scheduler: str | None
    width: int
    height: int
    created_at: datetime
    spoiled: bool = False


@dataclass(frozen=True, slots=True)
class Comparison:
    """One judgement between two models: `label_0` is 1.0 (model_0 won), 0.0 (model_1 won) or 0.5 (a tie)."""

    model_0: str
    model_1: str
    label_0: float
