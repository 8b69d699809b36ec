"""The OpenAI images API, as OpenAI, vLLM-Omni, SGLang, LocalAI and others serve it.

They agree on the address (`/v1/images/generations`) and on `data[].b64_json` or `data[].url`, and differ in
what else they honour: see `DIALECTS`. A seed is sent wherever one is honoured: without it SGLang takes the same
one for every image, and the two pictures of a round are identical.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from pickapic.generate.generator import GeneratedImage, GenerationError, GenerationRequest, Honours
from pickapic.generate.provider import Provider, api_key, bearer, one_each, patience_of
from pickapic.records import InputError

REFUSALS = ("moderation_blocked", "content_policy_violation", "content_safety_violation", "content_filter")
"""`error.code` of answers that refuse the prompt."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """Which names a server gives to the parameters that the API itself does not have; None: not honoured."""

    seed: str | None = None
    guidance_scale: str | None = None
    negative_prompt: str | None = None
    steps: str | None = None
    response_format: str | None = "b64_json"
    """None where the server refuses the parameter."""

    @property
    def honours(self) -> Honours:
        """What the server follows."""
        return Honours(
            seed=self.seed is not None,
            guidance_scale=self.guidance_scale is not None,
            negative_prompt=self.negative_prompt is not None,
            steps=self.steps is not None,
        )


_DIFFUSION = Dialect("seed", "guidance_scale", "negative_prompt", "num_inference_steps")
DIALECTS: Mapping[str, Dialect] = {
    # The models that make images today always answer in base64 and refuse response_format.
    "openai": Dialect(response_format=None),
    "vllm": _DIFFUSION,
    "sglang": _DIFFUSION,
    # It takes what should not be seen after a bar in the prompt.
    "localai": Dialect(seed="seed", negative_prompt="|", steps="step"),
}


class OpenAIImages:
    """One model behind the OpenAI images API.

    Args:
        model: its name there.
        url: the address up to and without `/images/generations`.
        key: the API key; better name the environment variable that holds it in `key_variable`.
        key_variable: see `key`.
        dialect: openai, vllm, sglang or localai.
        size: width x height, as the server knows them.
        extra: further fields of the request, for instance `{"quality": "high"}`.
        concurrency: requests that may run at once.
        patience: time-outs and tries, see `Patience`.
        name: what is stored with each image; default: `model`.

    Raises:
        InputError: an unknown dialect, a key variable that is not set, or an address that is none.
    """

    in_process = False

    def __init__(
        self,
        model: str,
        url: str = "https://api.openai.com/v1",
        *,
        key: str | None = None,
        key_variable: str | None = None,
        dialect: str = "openai",
        size: str = "1024x1024",
        extra: Mapping[str, Any] | None = None,
        concurrency: int = 4,
        patience: Mapping[str, float] | None = None,
        name: str = "",
    ) -> None:
        if dialect not in DIALECTS:
            raise InputError(f"dialect {dialect!r} is unknown; known: {', '.join(DIALECTS)}")
        self.name = name or model
        self.concurrency = concurrency
        self._model = model
        self._dialect = DIALECTS[dialect]
        self._size = size
        self._extra = dict(extra or {})
        self._provider = Provider(
            self.name,
            url,
            bearer(api_key(key, key_variable)),
            patience=patience_of(patience),
            refusal=_refusal,
        )

    @property
    def honours(self) -> Honours:
        """What the server follows of a request."""
        return self._dialect.honours

    def generate(self, request: GenerationRequest) -> tuple[GeneratedImage, ...]:
        """Return one image a seed, each from a request of its own. Raises `GenerationError` and its kinds."""
        return one_each(self._one, request, self.concurrency)

    def _one(self, request: GenerationRequest, seed: int) -> GeneratedImage:
        provider = self._provider
        body = self._body(request, seed)
        answer = provider.json_of(provider.ask("POST", "/images/generations", json=body))
        entries = answer.get("data")
        if not isinstance(entries, list) or not entries or not isinstance(entries[0], dict):
            raise GenerationError(f"{self.name} sent no image")
        entry: dict[str, Any] = entries[0]
        picture = (
            provider.read_base64(entry["b64_json"])
            if entry.get("b64_json")
            else provider.download(str(entry.get("url", "")))
        )
        honours = self.honours
        revised = entry.get("revised_prompt")
        return GeneratedImage(
            pixels=picture.pixels,
            seed=seed if honours.seed else None,
            guidance_scale=request.guidance_scale if honours.guidance_scale else None,
            steps=request.steps if honours.steps else None,
            scheduler=None,
            revised_prompt=revised if isinstance(revised, str) and revised != request.prompt else None,
            sent=body,
            source_sha256=picture.sha256,
        )

    def _body(self, request: GenerationRequest, seed: int) -> dict[str, Any]:
        dialect = self._dialect
        body: dict[str, Any] = {"model": self._model, "prompt": request.prompt, "n": 1, "size": self._size}
        if dialect.response_format:
            body["response_format"] = dialect.response_format
        if dialect.seed:
            body[dialect.seed] = seed
        if dialect.guidance_scale:
            body[dialect.guidance_scale] = request.guidance_scale
        if dialect.steps:
            body[dialect.steps] = request.steps
        if dialect.negative_prompt == "|" and request.negative_prompt:
            body["prompt"] = f"{request.prompt}|{request.negative_prompt}"
        elif dialect.negative_prompt and request.negative_prompt:
            body[dialect.negative_prompt] = request.negative_prompt
        return {**body, **self._extra}


def _refusal(response: httpx.Response) -> str | None:
    if response.is_success:
        return None
    try:
        error = response.json().get("error")
    except (ValueError, AttributeError):
        return None
    if isinstance(error, dict) and error.get("code") in REFUSALS:
        return str(error.get("message") or error["code"])
    return None
