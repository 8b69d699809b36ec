"""Scores on three scales: logit (as released: logit scale times cosine), cosine, probability."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def probabilities(scores: ArrayLike) -> NDArray[np.float32]:
    """Return the softmax of scores over the last axis: how likely each image is the preferred one.

    `scores` are on the released (logit) scale, shape (..., n); the result has the same shape, float32.
    """
    values = np.asarray(scores, dtype=np.float64)
    weights = np.exp(values - values.max(axis=-1, keepdims=True))
    return (weights / weights.sum(axis=-1, keepdims=True)).astype(np.float32)


def cosine(scores: ArrayLike, logit_scale: float) -> NDArray[np.float32]:
    """Return released scores as cosines; `logit_scale` is T itself (`scorer.logit_scale`)."""
    return (np.asarray(scores, dtype=np.float64) / logit_scale).astype(np.float32)
