"""Drawing what to make: the model by weight, its guidance scale, a seed."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from sqlalchemy import Row

from pickapic.collect.prompts import Prompt
from pickapic.collect.queue import jobs
from pickapic.settings import GeneratorChoice


def draw_order(prompt: Prompt | Row[Any], choices: Sequence[GeneratorChoice], rng: Random) -> jobs.Order:
    """Draw the model by weight, the guidance scale from the model's range, and a 32-bit seed.

    `choices` are the generators that are switched on now, at least one.
    """
    (choice,) = rng.choices(choices, weights=[choice.weight for choice in choices])
    negative = prompt.negative if isinstance(prompt, Prompt) else prompt.negative_prompt
    return jobs.Order(
        generator=choice.name,
        prompt=prompt.caption,
        negative_prompt=negative or choice.negative_prompt,
        guidance_scale=round(rng.uniform(choice.guidance_min, choice.guidance_max), 2),
        steps=choice.steps,
        seed=rng.getrandbits(32),
    )
