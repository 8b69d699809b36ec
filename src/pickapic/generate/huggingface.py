"""Hugging Face Inference: a model behind an inference endpoint, or behind the router's providers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pickapic.generate.generator import GeneratedImage, GenerationError, GenerationRequest, Honours
from pickapic.generate.provider import Provider, api_key, bearer, one_each, patience_of


class HuggingFace:
    """One model.

    Args:
        model: its id on the hub.
        url: the router's address, to which the model's id is added, or an endpoint of one's own with `path`.
        path: where on `url` the model is; default: `/models/MODEL`.
        key: the API token; better name the environment variable that holds it in `key_variable`.
        key_variable: see `key`.
        width: pixels; None leaves it to the model.
        height: pixels; None leaves it to the model.
        honours: what this model's provider follows, which differs: names out of seed, guidance_scale,
            negative_prompt, steps. What is not named here is neither sent nor stored.
        extra: further `parameters` of the request.
        concurrency: requests that may run at once.
        patience: time-outs and tries, see `Patience`.
        name: what is stored with each image; default: `model`.
    """

    in_process = False

    def __init__(
        self,
        model: str,
        url: str = "https://router.huggingface.co/hf-inference",
        *,
        path: str = "",
        key: str | None = None,
        key_variable: str | None = "HF_TOKEN",
        width: int | None = None,
        height: int | None = None,
        honours: tuple[str, ...] | list[str] = ("seed", "guidance_scale", "negative_prompt", "steps"),
        extra: Mapping[str, Any] | None = None,
        concurrency: int = 4,
        patience: Mapping[str, float] | None = None,
        name: str = "",
    ) -> None:
        self.name = name or model
        self.concurrency = concurrency
        self.honours = Honours(**{wish: wish in honours for wish in Honours.__slots__})
        self._path = path or f"/models/{model}"
        self._fixed = {key: value for key, value in (("width", width), ("height", height)) if value}
        self._fixed |= dict(extra or {})
        headers = {**bearer(api_key(key, key_variable)), "Accept": "image/png"}
        self._provider = Provider(self.name, url, headers, patience=patience_of(patience))

    def generate(self, request: GenerationRequest) -> tuple[GeneratedImage, ...]:
        """Return one image a seed. Raises `GenerationError` and its kinds."""
        return one_each(self._one, request, self.concurrency)

    def _one(self, request: GenerationRequest, seed: int) -> GeneratedImage:
        wishes = {
            "seed": ("seed", seed),
            "guidance_scale": ("guidance_scale", request.guidance_scale),
            "negative_prompt": ("negative_prompt", request.negative_prompt or None),
            "steps": ("num_inference_steps", request.steps),
        }
        sent = dict(wishes[wish] for wish in wishes if getattr(self.honours, wish))
        parameters = {name: value for name, value in sent.items() if value is not None} | self._fixed
        body = {"inputs": request.prompt, "parameters": parameters}
        response = self._provider.ask("POST", self._path, json=body)
        if not response.headers.get("content-type", "").startswith("image/"):
            raise GenerationError(f"{self.name} sent something that is no image: {response.text[:200]}")
        picture = self._provider.read(response.content)
        return GeneratedImage(
            pixels=picture.pixels,
            seed=seed if self.honours.seed else None,
            guidance_scale=request.guidance_scale if self.honours.guidance_scale else None,
            steps=request.steps if self.honours.steps else None,
            scheduler=None,
            sent=body,
            source_sha256=picture.sha256,
        )
