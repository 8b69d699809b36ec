"""Scores by a CLIP model: logit scale times the cosine of text and image features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pickapic.model.clip import Clip, load_clip
from pickapic.model.preprocess import Picture
from pickapic.model.reward import Reward
from pickapic.records import InputError
from pickapic.scorers.batches import pair, square_batches

LAION_H14 = "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"
_TEXTS_AT_ONCE = 256
_TEXTS_KEPT = 20_000


class ClipScorer:
    """A CLIP checkpoint as a scorer. Batches are formed here: give it as many images as you like."""

    needs_prompt = True
    higher_is_better = True

    def __init__(self, clip: Clip, name: str = "clip", batch_size: int = 64, threads: int = 0) -> None:
        """Score with `clip`: `batch_size` images at a time, decoded by `threads` (0: one a core, at most 8)."""
        self.name = name
        self.clip = clip
        self.reward = Reward(clip)
        self._batch_size = batch_size
        self._threads = threads
        self._texts: dict[str, Tensor] = {}

    @property
    def logit_scale(self) -> float:
        """T, the factor between cosine and score."""
        return self.clip.logit_scale.item()

    @torch.inference_mode()
    def score(self, prompts: str | Sequence[str], images: Sequence[Picture]) -> NDArray[np.float32]:
        """Return float32 (n,): row i is prompts[i] with images[i]; one prompt is broadcast over all images.

        Raises:
            InputError: the lengths differ, or something is no image.
        """
        rows = pair(prompts, images)
        scores = [
            (self.text_features(rows[start : start + len(features)]) * features).sum(-1)
            for start, features in self._image_batches(images)
        ]
        return self._on_scale(torch.cat(scores)) if scores else np.empty(0, np.float32)

    @torch.inference_mode()
    def score_matrix(self, prompts: Sequence[str], images: Sequence[Picture]) -> NDArray[np.float32]:
        """Return float32 (m, n): every prompt with every image, each encoded once."""
        texts = self.text_features(list(prompts))
        columns = [texts @ features.T for _, features in self._image_batches(images)]
        return (
            self._on_scale(torch.cat(columns, dim=1)) if columns else np.empty((len(prompts), 0), np.float32)
        )

    def score_pixels(self, prompts: str | Sequence[str], pixels: Tensor) -> Tensor:
        """Return scores (n,) that gradients flow through to `pixels` (n, 3, H, W), RGB in [0, 1].

        `pickapic.model.pixels.model_input` says how near this comes to `score` on the same images; `reward` is the
        same as a module.

        Raises:
            InputError: the number of prompts is neither 1 nor that of the images, or the pixels have another shape.
        """
        rows = [prompts] if isinstance(prompts, str) else list(prompts)
        if len(rows) not in (1, len(pixels)):
            raise InputError(
                f"{len(rows)} prompts for {len(pixels)} images: give one prompt, or one for each image"
            )
        return self.reward(pixels, **self.clip.tokens(rows))

    def forget(self) -> None:
        """Encode every prompt anew from now on; see `Forgetful`."""
        self._texts.clear()

    @torch.inference_mode()
    def text_features(self, prompts: Sequence[str]) -> Tensor:
        """Return unit-norm features (n, D); a prompt seen before is not encoded again."""
        if len(self._texts) > _TEXTS_KEPT:
            self._texts.clear()
        new = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._texts]
        # Prompts of like length share a batch: each batch is as long as its longest.
        new.sort(key=len)
        for start in range(0, len(new), _TEXTS_AT_ONCE):
            part = new[start : start + _TEXTS_AT_ONCE]
            self._texts.update(zip(part, self.clip.text_features(self.clip.tokens(part)), strict=True))
        return torch.stack([self._texts[prompt] for prompt in prompts])

    @torch.inference_mode()
    def image_features(self, images: Sequence[Picture]) -> Tensor:
        """Return unit-norm features (n, D)."""
        return torch.cat([features for _, features in self._image_batches(images)])

    def _image_batches(self, images: Sequence[Picture]) -> Iterator[tuple[int, Tensor]]:
        """Yield (first row, features) in batches."""
        for start, squares in square_batches(images, self.clip.transform, self._batch_size, self._threads):
            yield start, self.clip.image_features(squares)

    def _on_scale(self, cosines: Tensor) -> NDArray[np.float32]:
        return (self.clip.logit_scale * cosines).cpu().numpy().astype(np.float32)


def load(
    model: str = LAION_H14,
    device: str = "auto",
    dtype: str = "auto",
    precision: str = "auto",
    compile: bool = False,
    batch_size: int = 64,
    label: str = "clip",
) -> ClipScorer:
    """Return a zero-shot CLIP or SigLIP scorer; by default the model that PickScore was tuned from.

    Args:
        model: a hub id, a folder in `transformers` format, or "miniature".
        device: "cpu", "cuda", ... or "auto": a GPU if there is one.
        dtype: "float32", "bfloat16", "float16", or "auto": bfloat16 where the processor multiplies it natively.
        precision: "auto", or "int8": the image tower that `pickapic quantize` wrote into the folder, on the CPU.
        compile: compile the image tower: worth its minute from some thousand images on.
        batch_size: images that go through the model at once.
        label: the scorer's name in tables.

    Raises:
        InputError: an option has no such value, or the checkpoint cannot be used (the message says why).
    """
    clip = load_clip(model, device, dtype, precision=precision, compiled=compile)
    return ClipScorer(clip, label, batch_size)
