"""Providers that take a job, are asked how it goes, and say where the image lies: Replicate and fal."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from pickapic.generate.generator import (
    GeneratedImage,
    GenerationError,
    GenerationRequest,
    Honours,
    RefusedError,
    UnavailableError,
)
from pickapic.generate.provider import Patience, Provider, api_key, one_each, patience_of

LONGEST_POLL = 5.0


@dataclass(frozen=True, slots=True)
class Progress:
    """What a provider says about a job: still at work, done with `url`, failed or refused with `trouble`."""

    url: str | None = None
    trouble: str | None = None
    refused: bool = False
    seed: int | None = None


def fetch_when_done(
    provider: Provider, poll: Callable[[], Progress], patience: Patience
) -> tuple[Progress, str]:
    """Ask until the job has ended and return its last progress and the image's address.

    Raises:
        RefusedError: the provider will not draw this.
        GenerationError: the job failed.
        UnavailableError: it did not end within `patience.answer` seconds.
    """
    end = time.monotonic() + patience.answer
    pause = patience.poll
    while True:
        progress = poll()
        if progress.refused:
            raise RefusedError(f"{provider.name} refused: {progress.trouble}")
        if progress.trouble is not None:
            raise GenerationError(f"{provider.name} failed: {progress.trouble}")
        if progress.url is not None:
            return progress, progress.url
        if time.monotonic() + pause > end:
            raise UnavailableError(f"{provider.name} did not finish within {patience.answer:g} seconds")
        time.sleep(pause)
        pause = min(LONGEST_POLL, pause * 1.5)


class _Hosted:
    """What Replicate and fal have in common; `names` maps a wish to the model's own name for it."""

    in_process = False

    def __init__(
        self,
        model: str,
        url: str,
        headers: Mapping[str, str],
        names: Mapping[str, str] | None,
        extra: Mapping[str, Any] | None,
        concurrency: int,
        patience: Mapping[str, float] | None,
        name: str,
    ) -> None:
        self.name = name or model
        self.concurrency = concurrency
        self._names = dict(NAMES if names is None else names)
        self.honours = Honours(**{wish: wish in self._names for wish in Honours.__slots__})
        self._extra = dict(extra or {})
        self._patience = patience_of(patience)
        self._provider = Provider(self.name, url, headers, patience=self._patience)

    def generate(self, request: GenerationRequest) -> tuple[GeneratedImage, ...]:
        """Return one image a seed. Raises `GenerationError` and its kinds."""
        return one_each(self._one, request, self.concurrency)

    def _one(self, request: GenerationRequest, seed: int) -> GeneratedImage:
        values = {
            "seed": seed,
            "guidance_scale": request.guidance_scale,
            "negative_prompt": request.negative_prompt or None,
            "steps": request.steps,
        }
        wishes = {self._names[wish]: value for wish, value in values.items() if wish in self._names}
        sent = {name: value for name, value in wishes.items() if value is not None}
        asked = {"prompt": request.prompt, **sent, **self._extra}
        progress, url = fetch_when_done(self._provider, self._submit(asked), self._patience)
        # At once: what lies there is deleted within the hour.
        picture = self._provider.download(url)
        used = progress.seed if progress.seed is not None else seed
        return GeneratedImage(
            pixels=picture.pixels,
            seed=used if self.honours.seed else None,
            guidance_scale=request.guidance_scale if self.honours.guidance_scale else None,
            steps=request.steps if self.honours.steps else None,
            scheduler=None,
            sent=asked,
            source_sha256=picture.sha256,
        )

    def _submit(self, asked: Mapping[str, Any]) -> Callable[[], Progress]:
        """Hand the job in and return how to ask for it."""
        raise NotImplementedError


NAMES = {
    "seed": "seed",
    "guidance_scale": "guidance_scale",
    "negative_prompt": "negative_prompt",
    "steps": "num_inference_steps",
}
"""A wish of a request -> the usual name of the model's input. What a model does not have is left out."""


class Replicate(_Hosted):
    """One model on Replicate.

    Args:
        model: `owner/name` for an official model, or `owner/name:version`.
        url: the API's address.
        key: the API token; better name the environment variable that holds it in `key_variable`.
        key_variable: see `key`.
        names: what the model calls seed, guidance_scale, negative_prompt and steps; only those it has.
        extra: further inputs of the model.
        concurrency: jobs that may run at once.
        patience: time-outs and tries, see `Patience`; `answer` is for the whole job.
        name: what is stored with each image; default: `model`.
    """

    def __init__(
        self,
        model: str,
        url: str = "https://api.replicate.com/v1",
        *,
        key: str | None = None,
        key_variable: str | None = "REPLICATE_API_TOKEN",
        names: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
        concurrency: int = 4,
        patience: Mapping[str, float] | None = None,
        name: str = "",
    ) -> None:
        headers = {"Authorization": f"Bearer {api_key(key, key_variable)}"}
        super().__init__(model, url, headers, names, extra, concurrency, patience, name)
        self._model, _, self._version = model.partition(":")

    def _submit(self, asked: Mapping[str, Any]) -> Callable[[], Progress]:
        path = "/predictions" if self._version else f"/models/{self._model}/predictions"
        body = {"input": asked, **({"version": self._version} if self._version else {})}
        job = str(self._provider.json_of(self._provider.ask("POST", path, json=body)).get("id", ""))
        if not job:
            raise GenerationError(f"{self.name} took the job without naming it")
        return lambda: self._look(self._provider.ask("GET", f"/predictions/{job}"))

    def _look(self, response: httpx.Response) -> Progress:
        answer = self._provider.json_of(response)
        status = answer.get("status")
        if status == "succeeded":
            output = answer.get("output")
            first = output[0] if isinstance(output, list) and output else output
            return Progress(url=first) if isinstance(first, str) else Progress(trouble="it has no image")
        if status in ("failed", "canceled", "aborted"):
            trouble = str(answer.get("error") or status)
            return Progress(
                trouble=trouble, refused="nsfw" in trouble.lower() or "sensitive" in trouble.lower()
            )
        return Progress()


class Fal(_Hosted):
    """One model on fal.

    Args:
        model: its id, such as `fal-ai/flux/dev`.
        url: the queue's address.
        key: the API key; better name the environment variable that holds it in `key_variable`.
        key_variable: see `key`.
        names: what the model calls seed, guidance_scale, negative_prompt and steps; only those it has.
        extra: further inputs of the model.
        concurrency: jobs that may run at once.
        patience: time-outs and tries, see `Patience`; `answer` is for the whole job.
        name: what is stored with each image; default: `model`.
    """

    def __init__(
        self,
        model: str,
        url: str = "https://queue.fal.run",
        *,
        key: str | None = None,
        key_variable: str | None = "FAL_KEY",
        names: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
        concurrency: int = 4,
        patience: Mapping[str, float] | None = None,
        name: str = "",
    ) -> None:
        headers = {"Authorization": f"Key {api_key(key, key_variable)}"}
        super().__init__(model, url, headers, names, extra, concurrency, patience, name)
        self._model = model

    def _submit(self, asked: Mapping[str, Any]) -> Callable[[], Progress]:
        answer = self._provider.json_of(self._provider.ask("POST", f"/{self._model}", json=asked))
        job = answer.get("request_id")
        if not isinstance(job, str) or not job:
            raise GenerationError(f"{self.name} took the job without naming it")
        # The queue knows jobs by the model's first two parts, whatever endpoint of it was called.
        app = "/".join(self._model.split("/")[:2])
        return lambda: self._look(f"/{app}/requests/{job}")

    def _look(self, path: str) -> Progress:
        status = self._provider.json_of(self._provider.ask("GET", f"{path}/status"))
        if status.get("status") != "COMPLETED":
            return Progress()
        answer = self._provider.json_of(self._provider.ask("GET", path))
        unfit = answer.get("has_nsfw_concepts")
        if isinstance(unfit, list) and any(unfit):
            return Progress(trouble="the image was filtered", refused=True)
        images = answer.get("images") or [answer.get("image")]
        first = images[0] if isinstance(images, list) and images else None
        url = first.get("url") if isinstance(first, dict) else None
        seed = answer.get("seed")
        if not isinstance(url, str):
            return Progress(trouble=str(answer.get("error") or answer.get("detail") or "it has no image"))
        return Progress(url=url, seed=seed if isinstance(seed, int) else None)
