"""PickScore: a CLIP model tuned on people's picks."""

from __future__ import annotations

from pickapic.model.clip import load_clip
from pickapic.scorers.clip import ClipScorer

PICKSCORE_V1 = "yuvalkirstain/PickScore_v1"


def load(
    model: str = PICKSCORE_V1, device: str = "auto", dtype: str = "auto", label: str = "pickscore"
) -> ClipScorer:
    """Return PickScore from a hub id or a folder in `transformers` format, such as `pickapic train` writes."""
    return ClipScorer(load_clip(model, device, dtype), label)
