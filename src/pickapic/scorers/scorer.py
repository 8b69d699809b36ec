"""The one protocol of everything that scores (prompt, image) pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from pickapic.model.preprocess import Picture


class Scorer(Protocol):
    """Scores how good an image is for a prompt. A score has a meaning only beside others of the same scorer."""

    @property
    def name(self) -> str:
        """Name shown in tables."""
        ...

    @property
    def needs_prompt(self) -> bool:
        """False if the score looks at the image alone."""
        ...

    @property
    def higher_is_better(self) -> bool:
        """True for every scorer that predicts preference."""
        ...

    def score(self, prompts: str | Sequence[str], images: Sequence[Picture]) -> NDArray[np.float32]:
        """Return float32 (n,): row i is prompts[i] with images[i]; one prompt is broadcast over all images."""
        ...

    def score_matrix(self, prompts: Sequence[str], images: Sequence[Picture]) -> NDArray[np.float32]:
        """Return float32 (m, n): every prompt with every image."""
        ...


@runtime_checkable
class Forgetful(Protocol):
    """A scorer that keeps something between calls, and can be told to let it go.

    What is kept may have been computed in another batch than it would be now, which changes the last digits. A part
    of a table must come out the same whatever was scored before it: in one go, after a stop, or on another machine.
    """

    def forget(self) -> None:
        """Score from now on as if nothing had been scored before."""
        ...
