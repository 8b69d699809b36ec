"""Simulated people: a population with a hidden taste, and a known share who do not really look."""

from __future__ import annotations

import functools
import hashlib
import math
from dataclasses import astuple, dataclass, replace
from random import Random
from typing import Literal

from pickapic.miniature.depiction import Depiction, adherence
from pickapic.miniature.look import ATTRIBUTES, PLEASING, TOLERANCE, Look, displeasure
from pickapic.miniature.scene import draw, read, write
from pickapic.miniature.taste import ADHERENCE_MEAN, ADHERENCE_SD, LOOK_MEAN, LOOK_SD, depiction_of
from pickapic.records import ImageFacts, Pick

Habit = Literal["honest", "fast", "left", "random"]

CARELESS = 0.10
"""Share of people who do not look: a third each click fast, always take the left, or pick at random."""
MEAN_PICKS = 8
"""Picks a prompt, on average. 968,965 rankings of 66,798 prompts make 14.5 in the paper; fewer let more people come."""

SLIPS = 0.03
"""How often an honest person does not pick the image that is not spoiled."""

_BALANCE_SPREAD = 0.35
_IDEAL_SPREAD = 0.6
_ATTRIBUTE_SPREAD = 0.5
_NOISE = 1.0
_INDIFFERENCE = 0.42
_STABLE_IDEALS = {"subject", "off_center", "clutter", "style_strength"}
"""Nobody likes their subject cut off: people differ in light and colour, not in these."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A person's answer to a round and the seconds they took."""

    pick: Pick
    seconds: float


@dataclass(frozen=True, slots=True)
class Person:
    """One simulated person.

    `adherence_weight` and `look_weight` say what they mind, `ideal` where they like pictures best,
    `attribute_weights` which parts of a look they see most, `noise` how much a judgement wavers and
    `indifference` how small a difference they call a tie (both in standard deviations of quality).
    """

    index: int
    seed: int
    habit: Habit
    adherence_weight: float
    look_weight: float
    ideal: Look
    attribute_weights: tuple[float, ...]
    noise: float
    indifference: float

    def prompt(self, n: int) -> str:
        """Return this person's n-th prompt."""
        return write(draw(self._random("prompt", n)))

    def picks_per_prompt(self, n: int) -> int:
        """Return how many rounds they answer for their n-th prompt: at least 3, MEAN_PICKS on average."""
        return min(40, 3 + int(self._random("picks", n).expovariate(1 / (MEAN_PICKS - 2.5))))

    def judge(self, left: ImageFacts, right: ImageFacts, round_number: int) -> Judgement:
        """Answer a round; the same images in the same round always get the same answer."""
        random = self._random(
            f"{left.model}{left.seed}{left.guidance_scale}",
            f"{right.model}{right.seed}{right.guidance_scale}",
            round_number,
        )
        if self.habit != "honest":
            return self._careless(random)
        if left.spoiled != right.spoiled:
            return _see_through(left.spoiled, random)
        difference = self.liking(left.prompt, depiction_of(left)) - self.liking(
            right.prompt, depiction_of(right)
        )
        difference += random.gauss(0.0, self.noise)
        seconds = 0.9 + random.lognormvariate(0.5, 0.45) / (0.6 + min(2.0, abs(difference)))
        if abs(difference) < self.indifference:
            return Judgement("tie", seconds)
        return Judgement("left" if difference > 0 else "right", seconds)

    def liking(self, prompt: str, depiction: Depiction) -> float:
        """Return how much this person likes a depiction of `prompt`, without the wavering of one judgement."""
        return _liking(self, prompt, depiction)

    def _careless(self, random: Random) -> Judgement:
        if self.habit == "fast":
            return Judgement(
                random.choices(("left", "right", "tie"), (0.45, 0.45, 0.10))[0], random.uniform(0.25, 0.8)
            )
        if self.habit == "left":
            return Judgement(
                "left" if random.random() < 0.92 else "right", 0.5 + random.lognormvariate(0.2, 0.4)
            )
        return Judgement(
            random.choices(("left", "right", "tie"), (0.43, 0.43, 0.14))[0],
            0.9 + random.lognormvariate(0.5, 0.45),
        )

    def _random(self, *key: object) -> Random:
        text = "\0".join(map(str, (self.seed, self.index, *key)))
        return Random(int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()))


def _see_through(left_is_spoiled: bool, random: Random) -> Judgement:
    """Answer a round in which one image is spoiled: quickly, and seldom by a slip."""
    pick: Pick = "right" if left_is_spoiled else "left"
    if random.random() < SLIPS:
        pick = random.choice(("tie", "left" if pick == "right" else "right"))
    return Judgement(pick, 0.8 + random.lognormvariate(0.0, 0.4))


@functools.lru_cache(maxsize=20_000)
def _liking(person: Person, prompt: str, depiction: Depiction) -> float:
    present = (adherence(read(prompt), depiction.scene) - ADHERENCE_MEAN) / ADHERENCE_SD
    costs = displeasure(depiction.look, person.ideal)
    cost = sum(weight * cost for weight, cost in zip(person.attribute_weights, costs, strict=True)) / len(
        ATTRIBUTES
    )
    return person.adherence_weight * present + person.look_weight * (-cost - LOOK_MEAN) / LOOK_SD


class Population:
    """`size` people, each a pure function of (seed, index)."""

    def __init__(self, seed: int, size: int, careless: float = CARELESS) -> None:
        self.seed = seed
        self.size = size
        self.careless = careless
        self.person = functools.lru_cache(maxsize=None)(self._person)

    def _person(self, index: int) -> Person:
        """Return person `index`, 0 <= index < size."""
        if not 0 <= index < self.size:
            raise IndexError(f"person {index} of a population of {self.size}")
        digest = hashlib.blake2b(f"person\0{self.seed}\0{index}".encode(), digest_size=8).digest()
        random = Random(int.from_bytes(digest))
        habit: Habit = "honest"
        if random.random() < self.careless:
            habit = random.choice(("fast", "left", "random"))
        mind, eye = (math.exp(random.gauss(0, _BALANCE_SPREAD)) for _ in range(2))
        norm = math.sqrt(2 / (mind * mind + eye * eye))
        weights = [math.exp(random.gauss(0, _ATTRIBUTE_SPREAD)) for _ in ATTRIBUTES]
        mean = sum(weights) / len(weights)
        return Person(
            index=index,
            seed=self.seed,
            habit=habit,
            adherence_weight=mind * norm,
            look_weight=eye * norm,
            ideal=_ideal(random),
            attribute_weights=tuple(weight / mean for weight in weights),
            noise=_NOISE,
            indifference=_INDIFFERENCE * math.exp(random.gauss(0, 0.4)),
        )


def _ideal(random: Random) -> Look:
    shifts = {
        name: best + _IDEAL_SPREAD * tolerance * random.gauss(0, 1)
        for name, best, tolerance in zip(ATTRIBUTES, astuple(PLEASING), astuple(TOLERANCE), strict=True)
        if name not in _STABLE_IDEALS
    }
    return replace(PLEASING, **shifts)
