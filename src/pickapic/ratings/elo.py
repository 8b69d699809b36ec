"""Elo ratings, in row order and averaged over random orders (as the paper does)."""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pickapic.ratings.comparisons import Comparisons, Floats, Names, Ratings, comparisons
from pickapic.records import InputError

ELO = "elo"

Packed: TypeAlias = NDArray[np.uint64]
_FIRST, _SECOND = np.uint64(33), np.uint64(2)
_MODEL, _OUTCOME = np.uint64(2**31 - 1), np.uint64(3)
_WINNERS = np.array([2, 0, 1], np.uint64)
"""What the loop calls the outcomes 0, 0.5 and 1 of the first model: the second won, a draw, the first won."""


@dataclass(frozen=True, slots=True, eq=False)
class ShuffledRatings:
    """Elo over random orders: `orders` (shuffles, m) has the values of each, `mean` and `std` are (m,).

    `std` is the sample standard deviation over orders: how much the order alone matters, no interval.
    """

    method: str
    models: tuple[str, ...]
    mean: Floats
    std: Floats
    orders: Floats


def elo(
    model_0: Names,
    model_1: Names,
    label_0: ArrayLike,
    k: float = 32.0,
    initial: float = 1000.0,
    scale: float = 400.0,
) -> Ratings:
    """Rate models by Elo's update, one comparison after the other in row order.

    After each: r_0 += k * (label_0 - e), r_1 -= k * (label_0 - e), e = 1 / (1 + 10 ** ((r_1 - r_0) / scale)).

    Args:
        model_0: (n,) names of the models whose image was shown as image 0.
        model_1: (n,) the same for image 1.
        label_0: (n,) 1 (model_0 won), 0 (model_1 won) or 0.5 (a tie).
        k: how far one comparison moves a rating.
        initial: rating of every model at the start, and the mean rating ever after.
        scale: difference that makes the better model ten times as likely to win.

    Raises:
        InputError: as `comparisons`, or `k` or `scale` is not a positive number.
    """
    _check(k, initial, scale)
    made = comparisons(model_0, model_1, label_0)
    values = replay(pack(made), len(made.models), k, initial, scale)
    return Ratings(ELO, made.models, values, made.counts())


def elo_shuffled(
    model_0: Names,
    model_1: Names,
    label_0: ArrayLike,
    k: float = 32.0,
    initial: float = 1000.0,
    scale: float = 400.0,
    shuffles: int = 50,
    seed: int = 0,
) -> ShuffledRatings:
    """Rate models by Elo in random orders of the comparisons, 50 as in the paper's model evaluation.

    Raises:
        InputError: as `elo`, or fewer than 2 shuffles.
    """
    if shuffles < 2:
        raise InputError(f"a standard deviation over orders takes at least 2 shuffles, not {shuffles}")
    _check(k, initial, scale)
    made, rng = comparisons(model_0, model_1, label_0), np.random.default_rng(seed)
    packed, m = pack(made), len(made.models)
    # A permutation of rows that are one number each: little more than half the time of gathering three columns.
    orders = np.stack([replay(rng.permutation(packed), m, k, initial, scale) for _ in range(shuffles)])
    return ShuffledRatings(ELO, made.models, orders.mean(axis=0), orders.std(axis=0, ddof=1), orders)


def pack(made: Comparisons) -> Packed:
    """Return the comparisons as one number each (n,), to be put in any order and given to `replay`."""
    outcome = _WINNERS[(2 * made.label_0).astype(np.int64)]
    return (made.first.astype(np.uint64) << _FIRST) | (made.second.astype(np.uint64) << _SECOND) | outcome


def replay(
    packed: Packed, models: int, k: float = 32.0, initial: float = 1000.0, scale: float = 400.0
) -> Floats:
    """Return the ratings (models,) after the comparisons, in the order in which they come."""
    # Around 0 and shifted at the end: the loop computes 10 ** (rating / scale), which must not overflow.
    values = _loop()(
        packed >> _FIRST,
        (packed >> _SECOND) & _MODEL,
        (packed & _OUTCOME).astype(np.uint8),
        np.ones(len(packed)),
        models,
        0.0,
        10.0,
        scale,
        k,
        1.0,
        0.5,
    )
    return np.asarray(values, dtype=np.float64) + initial


def _check(k: float, initial: float, scale: float) -> None:
    if not (0 < k < math.inf and 0 < scale < math.inf and math.isfinite(initial)):
        raise InputError(f"k and scale must be positive and initial finite, not {k}, {scale} and {initial}")


@cache
def _loop() -> Any:
    # On first use: evalica brings pandas, 90 MB that a server which rates by counts alone has no use for.
    evalica: Any = importlib.import_module("evalica")
    # The compiled loop takes integers in arrays, which evalica's public function would make lists of.
    return evalica._brzo.elo if evalica.PYO3_AVAILABLE else evalica.elo_naive
