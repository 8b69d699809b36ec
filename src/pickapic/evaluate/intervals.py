"""How sure a mean is: bootstrap and permutation over prompts, since rows of one prompt are alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pickapic.records import InputError

RESAMPLES = 2000
PERMUTATIONS = 9999
_CELLS_AT_ONCE = 4_000_000

Floats = NDArray[np.float64]
Captions: TypeAlias = "Sequence[str] | pa.ChunkedArray[Any]"


@dataclass(frozen=True, slots=True)
class Clusters:
    """Rows grouped by prompt: `codes` (n,) numbers each row's prompt, `sizes` (count,) are its rows."""

    codes: NDArray[np.int64]
    sizes: Floats

    @property
    def count(self) -> int:
        """The number of prompts."""
        return len(self.sizes)

    def sums(self, values: Floats) -> Floats:
        """Return the sum of `values` (n,) in each prompt, (count,)."""
        return np.bincount(self.codes, values, self.count).astype(np.float64, copy=False)


def by_prompt(captions: Captions) -> Clusters:
    """Group rows by their prompt.

    Raises:
        InputError: fewer than two prompts, of which no interval can be made.
    """
    column = captions if isinstance(captions, pa.ChunkedArray) else pa.chunked_array([captions], pa.string())
    codes = column.combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)
    sizes = np.bincount(codes).astype(np.float64)
    if len(sizes) < 2:
        raise InputError(f"an interval clustered by prompt needs at least 2 prompts; there are {len(sizes)}")
    return Clusters(codes.astype(np.int64), sizes)


def bootstrap_means(values: Floats, clusters: Clusters, resamples: int = RESAMPLES, seed: int = 0) -> Floats:
    """Return the mean of `values` (n,) in each of `resamples` draws of whole prompts with replacement."""
    sums, rng = clusters.sums(values), np.random.default_rng(seed)
    share = np.full(clusters.count, 1 / clusters.count)
    means: list[Floats] = []
    for some in _portions(resamples, clusters.count):
        drawn = rng.multinomial(clusters.count, share, size=some).astype(np.float64)
        means.append((drawn @ sums) / (drawn @ clusters.sizes))
    return np.concatenate(means)


def interval(resampled: Floats, level: float = 0.95) -> tuple[float, float]:
    """Return the percentile interval of resampled values."""
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def sign_flip_p_value(
    differences: Floats, clusters: Clusters, permutations: int = PERMUTATIONS, seed: int = 0
) -> float:
    """Return the two-sided p-value of a paired permutation test on the mean of `differences` (n,).

    Under the null hypothesis either scorer might have been the other on any prompt: the signs of whole
    prompts are flipped at random. With one row a prompt and differences of -1, 0, 1 this is McNemar's test.
    """
    sums, rng = clusters.sums(differences), np.random.default_rng(seed)
    sums = sums[sums != 0]
    if not len(sums):
        return 1.0
    observed = abs(sums.sum()) - 1e-9  # sums of halves are exact; thirds of a mean would not be
    as_extreme = 0
    for some in _portions(permutations, len(sums)):
        signs = rng.integers(0, 2, size=(some, len(sums)), dtype=np.int8) * 2.0 - 1.0
        as_extreme += int((np.abs(signs @ sums) >= observed).sum())
    return (1 + as_extreme) / (1 + permutations)


def _portions(total: int, width: int) -> Iterator[int]:
    """Yield portions of `total` rows such that a matrix of `width` columns stays small."""
    at_once = max(1, _CELLS_AT_ONCE // max(1, width))
    for start in range(0, total, at_once):
        yield min(at_once, total - start)
