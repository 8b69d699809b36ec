"""Scores by a CLIP model: logit scale times the cosine of text and image features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from pickapic.model.clip import Clip, load_clip
from pickapic.model.preprocess import Picture, open_picture
from pickapic.records import InputError

LAION_H14 = "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"
_BATCH = 64
_TEXTS_KEPT = 20_000


class ClipScorer:
    """A CLIP checkpoint as a scorer. Batches are formed here: give it as many images as you like."""

    needs_prompt = True
    higher_is_better = True

    def __init__(self, clip: Clip, name: str = "clip") -> None:
        self.name = name
        self.clip = clip
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
        rows = [prompts] * len(images) if isinstance(prompts, str) else list(prompts)
        if len(rows) != len(images):
            raise InputError(
                f"{len(rows)} prompts for {len(images)} images: give one prompt, or one for each image"
            )
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
        """Return scores (n,) that gradients flow through to `pixels` (n, 3, H, W), RGB in [0, 1]."""
        rows = [prompts] * len(pixels) if isinstance(prompts, str) else list(prompts)
        transform = self.clip.transform
        height, width = transform.crop
        size = transform.size or height
        scale = size / min(pixels.shape[-2:])
        target = (max(size, int(pixels.shape[-2] * scale)), max(size, int(pixels.shape[-1] * scale)))
        resized = interpolate(pixels, target, mode="bicubic", antialias=True).clamp(0, 1)
        top, left = (target[0] - height) // 2, (target[1] - width) // 2
        square = resized[..., top : top + height, left : left + width]
        mean, std = (square.new_tensor(values).view(1, 3, 1, 1) for values in (transform.mean, transform.std))
        features = self.clip.pixel_features(
            ((square - mean) / std).to(self.clip.device, self.clip.model.dtype)
        )
        texts = self.clip.text_features(self.clip.tokens(rows))
        return self.clip.logit_scale * (texts * features).sum(-1)

    @torch.inference_mode()
    def text_features(self, prompts: Sequence[str]) -> Tensor:
        """Return unit-norm features (n, D); a prompt seen before is not encoded again."""
        if len(self._texts) > _TEXTS_KEPT:
            self._texts.clear()
        new = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._texts]
        for start in range(0, len(new), _BATCH):
            part = new[start : start + _BATCH]
            self._texts.update(zip(part, self.clip.text_features(self.clip.tokens(part)), strict=True))
        return torch.stack([self._texts[prompt] for prompt in prompts])

    @torch.inference_mode()
    def image_features(self, images: Sequence[Picture]) -> Tensor:
        """Return unit-norm features (n, D)."""
        return torch.cat([features for _, features in self._image_batches(images)])

    def _image_batches(self, images: Sequence[Picture]) -> Iterator[tuple[int, Tensor]]:
        """Yield (first row, features): the next batch is decoded in a thread while the model works on this one."""
        starts = range(0, len(images), _BATCH)
        with ThreadPoolExecutor(1) as decoder:
            coming = [decoder.submit(self._squares, images[start : start + _BATCH]) for start in starts[:2]]
            for number, start in enumerate(starts):
                squares = coming[number].result()
                coming[number] = coming[0]  # let go of the pixels
                if number + 2 < len(starts):
                    after = starts[number + 2]
                    coming.append(decoder.submit(self._squares, images[after : after + _BATCH]))
                yield start, self.clip.image_features(squares)

    def _squares(self, images: Sequence[Picture]) -> NDArray[np.uint8]:
        return np.stack([self.clip.transform.square(open_picture(image)) for image in images])

    def _on_scale(self, cosines: Tensor) -> NDArray[np.float32]:
        return (self.clip.logit_scale * cosines).cpu().numpy().astype(np.float32)


def load(
    model: str = LAION_H14, device: str = "auto", dtype: str = "auto", label: str = "clip"
) -> ClipScorer:
    """Return a zero-shot CLIP scorer; by default the model that PickScore was tuned from."""
    return ClipScorer(load_clip(model, device, dtype), label)
