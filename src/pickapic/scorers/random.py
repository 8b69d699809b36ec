"""The scorer that knows nothing: the bottom row of every table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pickapic.model.preprocess import Picture


class RandomScorer:
    """Gives every pair a score drawn from a normal distribution, whatever it shows."""

    name = "random"
    needs_prompt = False
    higher_is_better = True

    def __init__(self, seed: int = 0) -> None:
        self._random = np.random.default_rng(seed)

    def score(self, prompts: str | Sequence[str], images: Sequence[Picture]) -> NDArray[np.float32]:
        """Return float32 (n,)."""
        return self._random.standard_normal(len(images), dtype=np.float32)

    def score_matrix(self, prompts: Sequence[str], images: Sequence[Picture]) -> NDArray[np.float32]:
        """Return float32 (m, n)."""
        return self._random.standard_normal((len(prompts), len(images)), dtype=np.float32)


def load(seed: int = 0) -> RandomScorer:
    """Return a random scorer; two of the same seed agree."""
    return RandomScorer(seed)
