"""Rounds as they are released: for tests of what reads a whole dataset."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from hostile_images import encoded
from pickapic.dataset.schema import SCHEMA


def duels(n: int) -> pa.Table:
    """Return rounds in which the winner stays, as people play them, with a new prompt every seven."""
    rng = np.random.default_rng(5)
    rows, kept = [], 0
    for number in range(n):
        prompt, new = number // 7, number + 1
        kept = number if number % 7 == 0 else kept
        left, right = (kept, new) if rng.random() < 0.5 else (new, kept)
        rows.append(
            {
                "caption": f"prompt {prompt}",
                "created_at": number,
                "image_0_uid": f"image-{left}",
                "image_1_uid": f"image-{right}",
                "jpg_0": encoded(left),
                "jpg_1": encoded(right),
                "label_0": 1.0,
                "ranking_id": number,
            }
        )
        kept = (left, right)[int(rng.integers(2))]
    return pa.Table.from_pylist(rows, schema=SCHEMA)
