"""The bundled CLIP of the miniature world, before any tuning: needs no download."""

from __future__ import annotations

from pickapic.model.clip import load_clip
from pickapic.scorers.clip import ClipScorer


def load(device: str = "auto", dtype: str = "auto", label: str = "miniature") -> ClipScorer:
    """Return the bundled 5 M-parameter CLIP; it knows the miniature world and nothing else."""
    return ClipScorer(load_clip("miniature", device, dtype), label)
