"""One person's answers in columns: all that the signals look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Numbers: TypeAlias = NDArray[np.float64]
Sides: TypeAlias = NDArray[np.int8]
Codes: TypeAlias = NDArray[np.int64]

LEFT, RIGHT, NEITHER = 1, -1, 0
SIDES = {"left": LEFT, "right": RIGHT}


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """The answers of one person, oldest first: columns of length n, and what is known besides.

    Sides are 1 (left), -1 (right) or 0 (neither: a tie, no incumbent, no gold round).
    """

    picked_at: Numbers
    """Seconds since 1970 (any zero does)."""
    seconds: Numbers
    """From when the round was shown to the answer; NaN if it was not measured."""
    pick: Sides
    incumbent: Sides
    """The side of the image kept from the round before."""
    gold: Sides
    """The side known to be better, in a gold round."""
    number: Codes
    """The round's number within its duel, from 1."""
    session: Codes
    """Which signed-in browser answered; 0 if unknown."""
    left_model: Codes
    right_model: Codes
    models: tuple[str, ...] = ()
    """The names of the models, by code."""
    prompts: tuple[str, ...] = ()
    """One for each duel that was started, oldest first."""
    same_device: int = 0
    """Other accounts seen in a browser of theirs."""
    same_address: int = 0
    """Other accounts seen at a network address of theirs."""

    def __len__(self) -> int:
        return len(self.pick)

    @property
    def decided(self) -> NDArray[np.bool_]:
        """Which answers prefer one image, the gold rounds left out."""
        return (self.pick != NEITHER) & (self.gold == NEITHER)


def sides(values: Sequence[str | None]) -> Sides:
    """Return a column of sides from `left`, `right` and anything else."""
    return np.array([SIDES.get(value or "", NEITHER) for value in values], np.int8)
