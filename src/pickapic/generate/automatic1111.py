"""Automatic1111's web UI (started with `--api`), and its relatives that speak `/sdapi/v1`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import httpx

from pickapic.generate.generator import GeneratedImage, GenerationError, GenerationRequest, Honours
from pickapic.generate.provider import Provider, api_key, one_each, patience_of


class Automatic1111:
    """One checkpoint of a running Automatic1111.

    Args:
        checkpoint: `sd_model_checkpoint` as the UI names it; empty: whatever is loaded.
        url: the UI's address.
        user: for `--api-auth user:password`.
        password_variable: the environment variable that holds the password.
        sampler: `sampler_name`; empty: the server's default.
        width: pixels.
        height: pixels.
        extra: further fields of the request.
        patience: time-outs and tries, see `Patience`.
        name: what is stored with each image; default: `checkpoint`.
    """

    in_process = False
    honours = Honours()
    concurrency = 1  # the server has one queue and one model in memory

    def __init__(
        self,
        checkpoint: str = "",
        url: str = "http://127.0.0.1:7860",
        *,
        user: str = "",
        password_variable: str | None = None,
        sampler: str = "",
        width: int = 512,
        height: int = 512,
        extra: Mapping[str, Any] | None = None,
        patience: Mapping[str, float] | None = None,
        name: str = "",
    ) -> None:
        self.name = name or checkpoint or "automatic1111"
        self._fixed: dict[str, Any] = {"width": width, "height": height, "batch_size": 1, "n_iter": 1}
        if checkpoint:
            self._fixed["override_settings"] = {"sd_model_checkpoint": checkpoint}
            self._fixed["override_settings_restore_afterwards"] = False
        if sampler:
            self._fixed["sampler_name"] = sampler
        self._fixed |= dict(extra or {})
        password = api_key(None, password_variable)
        self._auth = httpx.BasicAuth(user, password or "") if user else None
        self._provider = Provider(self.name, url, patience=patience_of(patience))

    def generate(self, request: GenerationRequest) -> tuple[GeneratedImage, ...]:
        """Return one image a seed. Raises `GenerationError` and its kinds."""
        return one_each(self._one, request, self.concurrency)

    def progress(self) -> float:
        """Return how far the image in the making is, 0 to 1."""
        answer = self._provider.json_of(self._ask("GET", "/sdapi/v1/progress"))
        return min(1.0, max(0.0, float(answer.get("progress") or 0.0)))

    def _ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        return self._provider.ask(method, path, **options, **({"auth": self._auth} if self._auth else {}))

    def _one(self, request: GenerationRequest, seed: int) -> GeneratedImage:
        body = {
            "prompt": request.prompt,
            "negative_prompt": request.negative_prompt,
            "steps": request.steps,
            "cfg_scale": request.guidance_scale,
            "seed": seed,
            **self._fixed,
        }
        answer = self._provider.json_of(self._ask("POST", "/sdapi/v1/txt2img", json=body))
        images = answer.get("images")
        if not isinstance(images, list) or not images:
            raise GenerationError(f"{self.name} sent no image")
        picture = self._provider.read_base64(images[0])
        used = _used(answer.get("info"))
        return GeneratedImage(
            pixels=picture.pixels,
            seed=int(used.get("seed", seed)),
            guidance_scale=float(used.get("cfg_scale", request.guidance_scale)),
            steps=int(used.get("steps", request.steps)),
            scheduler=used.get("sampler_name"),
            sent=body,
            source_sha256=picture.sha256,
        )


def _used(info: object) -> dict[str, Any]:
    """Return the parameters that the server says it used: JSON within the JSON."""
    try:
        used = json.loads(info) if isinstance(info, str) else info
    except ValueError:
        return {}
    return {key: value for key, value in used.items() if value is not None} if isinstance(used, dict) else {}
