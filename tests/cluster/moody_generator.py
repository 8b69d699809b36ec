"""A generator whose prompts say what goes wrong, loaded through a real entry point."""

from __future__ import annotations

import time

from PIL import Image

from pickapic.generate.generator import (
    GeneratedImage,
    GenerationError,
    GenerationRequest,
    Honours,
    RefusedError,
    UnavailableError,
)


class Moody:
    """Paints the seed; `refuse`, `filter`, `fail`, `away` and `crash` in a prompt are done as they say."""

    honours = Honours()

    def __init__(self, name: str = "moody", seconds: float = 0.0) -> None:
        self.name = name
        self._seconds = seconds

    def generate(self, request: GenerationRequest) -> tuple[GeneratedImage, ...]:
        time.sleep(self._seconds)
        if "refuse" in request.prompt:
            raise RefusedError("we do not draw this")
        if "fail" in request.prompt:
            raise GenerationError("no memory")
        if "away" in request.prompt:
            raise UnavailableError("nobody there")
        if "crash" in request.prompt:
            raise ZeroDivisionError("a secret path")
        refusal = "the filter took it away" if "filter" in request.prompt else None
        return tuple(self._one(request, seed, refusal) for seed in request.seeds)

    def _one(self, request: GenerationRequest, seed: int, refusal: str | None) -> GeneratedImage:
        # Every wish and how many were made together shows in the pixels.
        steps, guidance = request.steps % 256, int(request.guidance_scale * 10) % 256
        pixels = Image.new("RGB", (16, 16), (seed % 256, steps, guidance))
        pixels.putpixel((0, 0), (len(request.seeds), len(request.negative_prompt), 0))
        return GeneratedImage(
            pixels,
            seed,
            request.guidance_scale,
            request.steps,
            "Euler",
            "A " + request.prompt,
            {},
            None,
            refusal,
        )
