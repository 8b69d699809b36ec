"""Best of n: which of these images would people prefer for this prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pickapic.model.preprocess import Picture
from pickapic.records import InputError
from pickapic.scorers.scorer import Scorer


@dataclass(frozen=True, slots=True)
class Ranked:
    """One image of a ranking: its place in the list that was given, and its score."""

    index: int
    score: float


def rank(prompt: str, images: Sequence[Picture], scorer: Scorer, top_k: int = 1) -> list[Ranked]:
    """Return the `top_k` best images for `prompt`, best first; equal scores keep the order given.

    Raises:
        InputError: no images, or top_k is not between 1 and their number.
    """
    if not 1 <= top_k <= len(images):
        raise InputError(f"top_k is {top_k} for {len(images)} images: it must be between 1 and their number")
    scores = scorer.score(prompt, images)
    signed = -scores if scorer.higher_is_better else scores
    return [Ranked(int(index), float(scores[index])) for index in np.argsort(signed, kind="stable")[:top_k]]
