"""CLIP as two towers that give unit-norm features, loaded from a `transformers` folder or the hub."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize
from transformers import AutoTokenizer, CLIPModel

from pickapic.model.preprocess import ImageTransform, read_transform
from pickapic.records import InputError

MINIATURE = Path(__file__).parent / "weights" / "miniature"
"""The bundled 5 M-parameter CLIP of the miniature world: give `model="miniature"`."""


@dataclass(slots=True)
class Clip:
    """A CLIP model with its own tokenizer and image transform."""

    model: CLIPModel
    tokenizer: Any
    transform: ImageTransform
    device: torch.device

    def tokens(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        """Tokenize prompts, padded to the longest and cut at the model's length with the end token kept."""
        text_config: Any = self.model.config.text_config
        limit: int = text_config.max_position_embeddings
        batch = self.tokenizer(
            list(prompts), padding=True, truncation=True, max_length=limit, return_tensors="pt"
        )
        return {name: batch[name].to(self.device) for name in ("input_ids", "attention_mask")}

    def text_features(self, tokens: dict[str, Tensor]) -> Tensor:
        """Return unit-norm features (n, D) of tokenized prompts."""
        # The towers are called themselves: `get_text_features` gives a tensor in transformers 4 and an object in 5.
        pooled = self.model.text_model(**tokens).pooler_output
        return _unit(self.model.text_projection(pooled))

    def image_features(self, squares: NDArray[np.uint8]) -> Tensor:
        """Return unit-norm features (n, D) of uint8 squares (n, H, W, 3) made by `transform.square`."""
        pixels = torch.from_numpy(self.transform.normalize(squares)).to(self.device, self.model.dtype)
        return self.pixel_features(pixels)

    def pixel_features(self, pixels: Tensor) -> Tensor:
        """Return unit-norm features (n, D) of normalised pixels (n, 3, H, W)."""
        pooled = self.model.vision_model(pixel_values=pixels).pooler_output
        return _unit(self.model.visual_projection(pooled))

    @property
    def logit_scale(self) -> Tensor:
        """T, the factor between cosine and score."""
        scale = self.model.logit_scale
        return scale.to(torch.promote_types(scale.dtype, torch.float32)).exp()


def _unit(features: Tensor) -> Tensor:
    """Return rows of length 1, in float32 at least: the cosine is never taken in half precision."""
    return normalize(features.to(torch.promote_types(features.dtype, torch.float32)), dim=-1)


def load_clip(model: str | os.PathLike[str], device: str = "auto", dtype: str = "auto") -> Clip:
    """Load a CLIP checkpoint: a folder in `transformers` format, a hub id, or "miniature".

    Args:
        model: where the weights are.
        device: "cpu", "cuda", ... or "auto": a GPU if there is one.
        dtype: "float32", "bfloat16", "float16", or "auto": bfloat16 where the processor multiplies it natively.

    Raises:
        InputError: no such folder or hub id, or the checkpoint is not a CLIP model.
    """
    where = MINIATURE if os.fspath(model) == "miniature" else Path(model)
    chosen = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    folder = where if where.is_dir() else _download(os.fspath(model))
    _check_is_clip(folder)
    weights: Any = CLIPModel.from_pretrained(folder, dtype=pick_dtype(dtype, chosen))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return Clip(weights.to(chosen).eval(), tokenizer, read_transform(folder), chosen)


def pick_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """Return the torch dtype for a name; "auto" is bfloat16 only where it is fast."""
    if dtype != "auto":
        try:
            return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[dtype]
        except KeyError:
            raise InputError(f"dtype {dtype!r}: choose auto, float32, bfloat16 or float16") from None
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    # Without matrix instructions for bfloat16 a processor emulates it, two hundred times slower than float32.
    return torch.bfloat16 if torch.cpu._is_amx_tile_supported() else torch.float32  # pyright: ignore[reportPrivateUsage]


def _download(hub_id: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    wanted = ["*.json", "*.txt", "*.safetensors", "*.model"]
    try:
        return Path(snapshot_download(hub_id, allow_patterns=wanted))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise InputError(
            f"{hub_id}: no such folder, and it could not be fetched from the hub ({error})"
        ) from error


def _check_is_clip(folder: Path) -> None:
    path = folder / "config.json"
    if not path.is_file():
        raise InputError(f"{folder}: no config.json there; a checkpoint is a folder that transformers saved")
    kind = json.loads(path.read_text()).get("model_type")
    if kind != "clip":
        raise InputError(f"{folder}: the checkpoint is a {kind!r} model, not CLIP")
