"""The one protocol of everything that makes images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from PIL import Image


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One prompt, and one image wanted for each of `seeds`."""

    prompt: str
    seeds: tuple[int, ...]
    negative_prompt: str = ""
    guidance_scale: float = 7.5
    steps: int = 25


@dataclass(frozen=True, slots=True)
class Honours:
    """Which wishes of a request a generator really follows; what it ignores is stored as not set."""

    seed: bool = True
    guidance_scale: bool = True
    negative_prompt: bool = True
    steps: bool = True


@dataclass(frozen=True, slots=True)
class GeneratedImage:
    """Pixels (RGB) and the parameters that were really used; None where the generator has no such parameter.

    `refusal` says why the image must not be shown: the model's own filter put something else in its place.
    `revised_prompt` is what a provider made of the prompt, if it says so; `sent` what it was asked, without
    secrets; `source_sha256` the SHA-256 of the bytes that it answered with, as 64 hex digits.
    """

    pixels: Image.Image
    seed: int | None
    guidance_scale: float | None
    steps: int | None
    scheduler: str | None
    revised_prompt: str | None = None
    sent: Mapping[str, Any] = field(default_factory=dict[str, Any])
    source_sha256: str | None = None
    refusal: str | None = None


class GenerationError(Exception):
    """No image came; another try may do better."""


class RefusedError(GenerationError):
    """The model's provider will not draw this prompt. Another try would be refused as well."""


class UnavailableError(GenerationError):
    """The provider does not answer, is overloaded or rejects the key: whatever it is asked next fails too."""


class Generator(Protocol):
    """Makes images from text. Called from one thread at a time, or from as many as it declares.

    Two attributes may be added. `in_process = False`: a provider draws, and whoever calls only waits; so it holds up
    nothing else. `concurrency`: how many calls such a one takes at once (1 without it). Generators that draw in this
    process take turns with one another.
    """

    @property
    def name(self) -> str:
        """The model's name as stored with each image and released as `model_0`, `model_1`."""
        ...

    @property
    def honours(self) -> Honours:
        """What the generator follows of a request."""
        ...

    def generate(self, request: GenerationRequest) -> tuple[GeneratedImage, ...]:
        """Return one image for each of `request.seeds`, in order."""
        ...
