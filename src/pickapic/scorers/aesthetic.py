"""An aesthetic predictor: a linear head over CLIP image features. It never sees the prompt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from pickapic.model.clip import MINIATURE, load_clip
from pickapic.model.preprocess import Picture
from pickapic.records import InputError
from pickapic.scorers.clip import ClipScorer

HEAD = "aesthetic.safetensors"


class AestheticScorer:
    """Rates an image alone: `weight` (D,) times its CLIP features, plus `bias`."""

    needs_prompt = False
    higher_is_better = True

    def __init__(self, clip: ClipScorer, weight: Tensor, bias: Tensor, name: str = "aesthetic") -> None:
        self.name = name
        self._clip = clip
        self._weight = weight
        self._bias = bias

    @torch.inference_mode()
    def score(self, prompts: str | Sequence[str], images: Sequence[Picture]) -> NDArray[np.float32]:
        """Return float32 (n,): one rating an image; the prompts are not read."""
        if not len(images):
            return np.empty(0, np.float32)
        return (
            (self._clip.image_features(images) @ self._weight + self._bias).cpu().numpy().astype(np.float32)
        )

    def score_matrix(self, prompts: Sequence[str], images: Sequence[Picture]) -> NDArray[np.float32]:
        """Return float32 (m, n): the same ratings for every prompt."""
        return np.tile(self.score("", images), (len(prompts), 1))


def load(
    model: str = "miniature",
    head: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    label: str = "aesthetic",
) -> AestheticScorer:
    """Return an aesthetic predictor.

    Args:
        model: the CLIP model whose image features the head reads.
        head: a safetensors file with `weight` (D,) and `bias` (); default: the one bundled for `model="miniature"`.
        device: as for `load_clip`.
        dtype: as for `load_clip`.
        label: the scorer's name in tables.

    Raises:
        InputError: no head given for another model, or its width is not the model's.
    """
    if head is None and model != "miniature":
        raise InputError(
            f"the aesthetic scorer over {model} needs head=FILE, a safetensors file with weight and bias"
        )
    clip = ClipScorer(load_clip(model, device, dtype))
    path = MINIATURE / HEAD if head is None else Path(head)
    if not path.is_file():
        raise InputError(f"{path}: no such file; it should hold the head's weight and bias")
    tensors = load_file(path)
    width = clip.clip.model.config.projection_dim
    if set(tensors) != {"weight", "bias"} or tensors["weight"].shape != (width,):
        raise InputError(
            f"{path}: expected weight ({width},) and bias (), found "
            + ", ".join(f"{k} {tuple(v.shape)}" for k, v in tensors.items())
        )
    return AestheticScorer(
        clip,
        tensors["weight"].float().to(clip.clip.device),
        tensors["bias"].float().to(clip.clip.device),
        label,
    )
