"""A depiction: what a model really draws for a prompt, its faults included.

Everything is a pure function of (prompt, model, seed, guidance): the renderer draws a depiction, and the same
depiction, made again, tells a test what is true of an image without any side channel.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass, replace
from random import Random

from pickapic.miniature.look import Look, vary
from pickapic.miniature.models import Model
from pickapic.miniature.objects import BY_NAME, KINDS
from pickapic.miniature.scene import BACKGROUNDS, COLORS, MOST_COUNT, STYLES, Relation, Scene, Thing, read


@dataclass(frozen=True, slots=True)
class Depiction:
    """What is drawn: a scene (with the model's faults), a look, and a seed for where things stand."""

    scene: Scene
    look: Look
    sprite_set: str
    seed: int
    title: str
    """The prompt's own words, drawn as a typographic card where the scene has no things."""


@functools.lru_cache(maxsize=100_000)
def depict(prompt: str, model: Model, seed: int, guidance_scale: float) -> Depiction:
    """Return what `model` draws for `prompt` with this seed and guidance scale (usually 3 to 12)."""
    digest = hashlib.blake2b(
        f"{model.name}\0{seed}\0{guidance_scale:.4f}\0{prompt}".encode(), digest_size=8
    ).digest()
    random = Random(int.from_bytes(digest))
    asked = read(prompt)
    drawn = _with_faults(asked, model, guidance_scale, random)
    look = vary(model.look_at(guidance_scale), model.spread, random)
    return Depiction(drawn, look, model.sprite_set, random.getrandbits(32), prompt)


def _with_faults(asked: Scene, model: Model, guidance_scale: float, random: Random) -> Scene:
    rate = functools.partial(model.fault_rate, guidance_scale=guidance_scale)
    things = [_thing_with_faults(thing, rate, random) for thing in asked.things]
    if len(things) > 1 and random.random() < rate("drop"):
        things.pop(random.randrange(len(things)))
    if len(things) > 1 and random.random() < rate("leak"):
        things[1] = replace(things[1], color=things[0].color)
    relation = asked.relation if len(things) > 1 else None
    if relation and random.random() < rate("relation"):
        relation = random.choice(_wrong_relations(relation))
    background = asked.background
    if background and random.random() < rate("background"):
        background = random.choice([None, *(name for name in BACKGROUNDS if name != background)])
    elif background is None and asked.things and random.random() < model.invents_background:
        background = random.choice(list(BACKGROUNDS))
    style = asked.style
    if style and random.random() < rate("style"):
        style = random.choice([None, None, *(name for name in STYLES if name != style)])
    return Scene(tuple(things), relation, background, style)


def _thing_with_faults(thing: Thing, rate: functools.partial[float], random: Random) -> Thing:
    if random.random() < rate("wrong_object"):
        family = BY_NAME[thing.kind].family
        others = [kind.name for kind in KINDS if kind.family == family and kind.name != thing.kind]
        thing = replace(thing, kind=random.choice(others))
    if thing.color and random.random() < rate("color"):
        thing = replace(thing, color=random.choice([None, *(name for name in COLORS if name != thing.color)]))
    if random.random() < rate("count") * (1.0 if thing.count > 1 else 0.4):
        thing = replace(thing, count=random.choice([n for n in range(1, MOST_COUNT + 1) if n != thing.count]))
    return thing


def _wrong_relations(relation: Relation) -> tuple[Relation, ...]:
    """Return relations that contradict `relation`; side by side satisfies "next to", so only stacks do not."""
    if relation in ("left of", "right of"):
        return ("right of" if relation == "left of" else "left of", "above", "below")
    if relation in ("above", "below"):
        return ("below" if relation == "above" else "above", "left of", "right of")
    return ("above", "below")


_WEIGHTS = {"things": 4.0, "count": 1.0, "color": 1.5, "relation": 1.0, "background": 1.5, "style": 2.0}


@functools.lru_cache(maxsize=100_000)
def adherence(asked: Scene, drawn: Scene) -> float:
    """Return how much of what was asked is there: a weighted share in 0..1; 1 where nothing was asked."""
    earned = possible = 0.0
    rest = list(drawn.things)
    share = 1 / max(1, len(asked.things))
    for thing in asked.things:
        found = next((other for other in rest if other.kind == thing.kind), None)
        if found is not None:
            rest.remove(found)
        for part, asked_for, right in (
            ("things", True, found is not None),
            ("count", True, found is not None and found.count == thing.count),
            ("color", thing.color is not None, found is not None and found.color == thing.color),
        ):
            if asked_for:
                possible += _WEIGHTS[part] * share
                earned += _WEIGHTS[part] * share * right
    for part, wanted, got in (
        ("relation", asked.relation, drawn.relation),
        ("background", asked.background, drawn.background),
        ("style", asked.style, drawn.style),
    ):
        if wanted is not None:
            possible += _WEIGHTS[part]
            earned += _WEIGHTS[part] * (wanted == got)
    return earned / possible if possible else 1.0
