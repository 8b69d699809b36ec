"""Trying each generator of a deployment once, before people wait for it."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pickapic import plugins
from pickapic.generate.generator import GenerationRequest, Generator, Honours
from pickapic.settings import GeneratorChoice


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of one image: its size and the seconds it took, or the trouble there was."""

    name: str
    size: str
    seconds: float
    honours: tuple[str, ...]
    trouble: str
    file: str


def open_generator(choice: GeneratorChoice) -> Generator:
    """Return the generator of an entry of the settings, under the entry's name. Nothing is asked of it yet."""
    return plugins.load(plugins.GENERATORS, choice.plugin)(**choice.parameters)


def check_generators(
    choices: Sequence[GeneratorChoice],
    prompt: str,
    out: Path | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> list[Checked]:
    """Make one image with each, one after the other; a failure is reported and the next is tried.

    Args:
        choices: entries of the settings.
        prompt: what the images show.
        out: folder for the images, as PNG; None keeps none.
        on_progress: told after each.
    """
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    checked: list[Checked] = []
    for choice in choices:
        checked.append(_check(choice, prompt, out))
        if on_progress:
            on_progress(1)
    return checked


def _check(choice: GeneratorChoice, prompt: str, out: Path | None) -> Checked:
    start = time.monotonic()
    wishes: tuple[str, ...] = ()
    try:
        generator = open_generator(choice)
        request = GenerationRequest(
            prompt=prompt,
            seeds=(secrets.randbits(32),),
            negative_prompt=choice.negative_prompt,
            guidance_scale=(choice.guidance_min + choice.guidance_max) / 2,
            steps=choice.steps,
        )
        (image,) = generator.generate(request)
        wishes = tuple(wish for wish in Honours.__slots__ if getattr(generator.honours, wish))
        if image.refusal:
            return Checked(choice.name, "", time.monotonic() - start, wishes, image.refusal, "")
        file = ""
        if out is not None:
            path = out / (re.sub(r"[^\w.-]+", "-", choice.name) + ".png")
            image.pixels.save(path)
            file = str(path)
        size = f"{image.pixels.width} x {image.pixels.height}"
        return Checked(choice.name, size, time.monotonic() - start, wishes, "", file)
    except Exception as error:  # whatever a plugin raises, the others are still worth a try
        trouble = f"{type(error).__name__}: {error}"
        return Checked(choice.name, "", time.monotonic() - start, wishes, trouble, "")
