"""Elo ratings, in row order and averaged over random orders (as the paper does)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import evalica
import numpy as np
from numpy.typing import ArrayLike, NDArray

from pickapic.ratings.comparisons import Comparisons, Floats, Names, Ratings, comparisons
from pickapic.records import InputError

ELO = "elo"

# The compiled loop takes integers in arrays, which evalica's public function would make lists of.
_evalica: Any = evalica
_loop: Any = _evalica._brzo.elo if evalica.PYO3_AVAILABLE else _evalica.elo_naive


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
    made = comparisons(model_0, model_1, label_0)
    return Ratings(ELO, made.models, run(made, None, k, initial, scale), made.counts())


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
    made, rng = comparisons(model_0, model_1, label_0), np.random.default_rng(seed)
    orders = np.stack(
        [run(made, rng.permutation(len(made.label_0)), k, initial, scale) for _ in range(shuffles)]
    )
    return ShuffledRatings(ELO, made.models, orders.mean(axis=0), orders.std(axis=0, ddof=1), orders)


def run(
    made: Comparisons,
    rows: NDArray[np.int64] | None = None,
    k: float = 32.0,
    initial: float = 1000.0,
    scale: float = 400.0,
) -> Floats:
    """Return the ratings (m,) after the comparisons `rows`, in that order; None for all in their own.

    Raises:
        InputError: `k` or `scale` is not a positive number, or `initial` is not finite.
    """
    if not (0 < k < math.inf and 0 < scale < math.inf and math.isfinite(initial)):
        raise InputError(f"k and scale must be positive and initial finite, not {k}, {scale} and {initial}")
    index = slice(None) if rows is None else rows
    winner = np.array([2, 0, 1], np.uint8)[(2 * made.label_0[index]).astype(np.int64)]
    # Around 0 and shifted at the end: the loop computes 10 ** (rating / scale), which must not overflow.
    values = _loop(
        made.first[index].astype(np.uint64),
        made.second[index].astype(np.uint64),
        winner,
        np.ones(len(winner)),
        len(made.models),
        0.0,
        10.0,
        scale,
        k,
        1.0,
        0.5,
    )
    return np.asarray(values, dtype=np.float64) + initial
