"""Stability AI's REST API, v2beta."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

from pickapic.generate.generator import GeneratedImage, GenerationRequest, Honours
from pickapic.generate.provider import Provider, api_key, bearer, one_each, patience_of

SUCCESS = "SUCCESS"


class Stability:
    """One model of Stability AI.

    Args:
        model: `core`, `ultra`, or a model of the sd3 endpoint such as `sd3.5-large`.
        url: the API's address.
        key: the API key; better name the environment variable that holds it in `key_variable`.
        key_variable: see `key`.
        aspect_ratio: such as 1:1.
        extra: further fields of the form.
        concurrency: requests that may run at once.
        patience: time-outs and tries, see `Patience`.
        name: what is stored with each image; default: `model`.
    """

    in_process = False

    def __init__(
        self,
        model: str = "sd3.5-large",
        url: str = "https://api.stability.ai",
        *,
        key: str | None = None,
        key_variable: str | None = "STABILITY_API_KEY",
        aspect_ratio: str = "1:1",
        extra: Mapping[str, Any] | None = None,
        concurrency: int = 4,
        patience: Mapping[str, float] | None = None,
        name: str = "",
    ) -> None:
        self.name = name or model
        self.concurrency = concurrency
        named = model in ("core", "ultra")
        self._path = f"/v2beta/stable-image/generate/{model if named else 'sd3'}"
        # Only the sd3 endpoint has a choice of models, and a guidance scale.
        self.honours = Honours(guidance_scale=not named, steps=False)
        self._fixed = {
            "aspect_ratio": aspect_ratio,
            "output_format": "png",
            **({} if named else {"model": model}),
        }
        self._fixed |= dict(extra or {})
        self._provider = Provider(
            self.name,
            url,
            {**bearer(api_key(key, key_variable)), "Accept": "application/json"},
            patience=patience_of(patience),
            refusal=_refusal,
        )

    def generate(self, request: GenerationRequest) -> tuple[GeneratedImage, ...]:
        """Return one image a seed. Raises `GenerationError` and its kinds."""
        return one_each(self._one, request, self.concurrency)

    def _one(self, request: GenerationRequest, seed: int) -> GeneratedImage:
        # The API's seeds end one before 2^32.
        form: dict[str, Any] = {"prompt": request.prompt, "seed": seed % (2**32 - 1), **self._fixed}
        if request.negative_prompt:
            form["negative_prompt"] = request.negative_prompt
        if self.honours.guidance_scale:
            form["cfg_scale"] = min(10.0, max(1.0, request.guidance_scale))
        parts = {name: (None, str(value)) for name, value in form.items()}  # a form with files is multipart
        answer = self._provider.json_of(self._provider.ask("POST", self._path, files=parts))
        picture = self._provider.read_base64(answer.get("image"))
        return GeneratedImage(
            pixels=picture.pixels,
            seed=int(answer.get("seed", form["seed"])),
            guidance_scale=form.get("cfg_scale"),
            steps=None,
            scheduler=None,
            sent=form,
            source_sha256=picture.sha256,
        )


def _refusal(response: httpx.Response) -> str | None:
    """A filtered image comes with status 200, blurred: only `finish_reason` tells."""
    try:
        body = response.json()
    except ValueError:
        return None
    if not isinstance(body, dict):
        return None
    if body.get("name") == "content_moderation":
        return str(body.get("errors") or "content moderation")
    reason = body.get("finish_reason")
    return str(reason) if response.is_success and reason not in (None, SUCCESS) else None
