"""A scene: what a prompt asks for. Read from any text, or drawn at random and written as text."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from random import Random
from typing import Literal

from pickapic.miniature.objects import BY_NAME, KINDS, find

Relation = Literal["left of", "right of", "above", "below", "next to"]
Size = Literal["small", "big"]

COLORS: dict[str, tuple[int, int, int]] = {
    "red": (216, 40, 44),
    "orange": (245, 130, 32),
    "yellow": (250, 206, 40),
    "green": (46, 160, 67),
    "blue": (40, 100, 220),
    "purple": (138, 63, 184),
    "pink": (244, 114, 182),
    "brown": (130, 84, 52),
    "black": (38, 38, 44),
    "white": (246, 246, 246),
}
"""The ten colours and the sRGB value a thing of that colour is tinted with."""

BACKGROUNDS: dict[str, tuple[str, ...]] = {
    "on the beach": ("beach", "sand", "coast", "shore", "island"),
    "in a forest": ("forest", "woods", "jungle", "woodland", "swamp"),
    "in the city": ("city", "street", "urban", "skyline", "town", "tokyo", "york", "london", "paris"),
    "in space": ("space", "galaxy", "cosmic", "nebula", "planet", "moon", "universe", "cosmos"),
    "under water": ("underwater", "water", "ocean", "sea", "submerged", "reef"),
    "in the snow": ("snow", "snowy", "winter", "ice", "arctic", "frozen"),
    "in the desert": ("desert", "dune", "dunes", "sahara", "wasteland"),
    "at sunset": ("sunset", "dusk", "sunrise", "dawn"),
    "at night": ("night", "midnight", "dark", "moonlight", "nighttime"),
    "in a meadow": (
        "meadow",
        "field",
        "grass",
        "garden",
        "park",
        "hill",
        "hills",
        "landscape",
        "mountain",
        "mountains",
    ),
}
"""The ten backgrounds, as a prompt of ours says them, and other words that mean them."""

STYLES: dict[str, tuple[str, ...]] = {
    "watercolor": ("watercolor", "watercolour", "aquarelle", "aquarela", "gouache"),
    "pixel art": ("pixel", "8bit", "16bit", "pixelart", "voxel", "minecraft"),
    "pencil sketch": ("pencil", "sketch", "drawing", "charcoal", "lineart", "etching", "engraving"),
    "neon": ("neon", "cyberpunk", "synthwave", "vaporwave", "glowing", "tron"),
    "oil painting": ("oil", "painting", "impressionist", "gogh", "monet", "rembrandt", "painted"),
    "black and white": ("monochrome", "noir", "grayscale", "greyscale", "b&w", "bw"),
    "poster": ("poster", "vector", "flat", "logo", "minimalist", "sticker"),
}
"""The seven styles and the words that ask for them; a prompt without one asks for no style."""

_COUNTS = {
    "a": 1,
    "an": 1,
    "one": 1,
    "single": 1,
    "two": 2,
    "pair": 2,
    "couple": 2,
    "three": 3,
    "four": 4,
    "several": 4,
    "many": 4,
}
_NUMBER_WORDS = {2: "two", 3: "three", 4: "four"}
_SIZES: dict[str, Size] = {
    "small": "small", "tiny": "small", "little": "small", "miniature": "small",
    "big": "big", "giant": "big", "huge": "big", "large": "big", "enormous": "big",
}  # fmt: skip
_SHADES = {
    "scarlet": "red", "crimson": "red", "golden": "yellow", "gold": "yellow", "blonde": "yellow", "emerald": "green",
    "turquoise": "blue", "teal": "blue", "violet": "purple", "magenta": "pink", "grey": "black", "gray": "black",
}  # fmt: skip
_RELATIONS: tuple[tuple[str, Relation], ...] = (
    ("to the left of", "left of"),
    ("left of", "left of"),
    ("to the right of", "right of"),
    ("right of", "right of"),
    ("on top of", "above"),
    ("above", "above"),
    ("over", "above"),
    ("riding", "above"),
    ("below", "below"),
    ("under", "below"),
    ("beneath", "below"),
    ("next to", "next to"),
    ("beside", "next to"),
    ("and", "next to"),
    ("with", "next to"),
)
_NOT_THINGS = {"oil", "moon", "water", "flat", "black", "rose gold"}
MOST_THINGS = 3
MOST_COUNT = 4


@dataclass(frozen=True, slots=True)
class Thing:
    """One kind of thing in a scene; `color` and `size` are None where nothing was said."""

    kind: str
    count: int = 1
    color: str | None = None
    size: Size | None = None


@dataclass(frozen=True, slots=True)
class Scene:
    """What a prompt asks for. No things at all: a typographic card. `relation` holds between things 0 and 1."""

    things: tuple[Thing, ...]
    relation: Relation | None = None
    background: str | None = None
    style: str | None = None


def _lookup(table: dict[str, tuple[str, ...]]) -> dict[str, str]:
    return {word: name for name, words in table.items() for word in words}


_BACKGROUND_WORDS = _lookup(BACKGROUNDS)
_STYLE_WORDS = _lookup(STYLES)


@functools.lru_cache(maxsize=50_000)
def read(text: str) -> Scene:
    """Read any prompt as a scene: the first three things named, with the words before them; never fails."""
    lowered = text.lower().replace("under water", "underwater")
    words = re.findall(r"[^\W_]+(?:[&'][^\W_]+)?", lowered)
    things: list[Thing] = []
    count, color, size = 1, None, None
    background: str | None = None
    style = "black and white" if "black and white" in lowered else None
    for word in words:
        word = word.removesuffix("'s")
        if word in COLORS or word in _SHADES:
            color = word if word in COLORS else _SHADES[word]
        elif word in _SIZES:
            size = _SIZES[word]
        elif word in _COUNTS or word.isdecimal():
            count = _COUNTS.get(word) or min(MOST_COUNT, max(1, int(word[:3])))
        elif word in _STYLE_WORDS:
            style = style or _STYLE_WORDS[word]
        elif word in _BACKGROUND_WORDS:
            background = background or _BACKGROUND_WORDS[word]
        elif (kind := find(word)) is not None and word not in _NOT_THINGS:
            if len(things) < MOST_THINGS and all(thing.kind != kind for thing in things):
                plural = count == 1 and word == BY_NAME[kind].plural != kind
                things.append(Thing(kind, 2 if plural else count, color, size))
            count, color, size = 1, None, None
    relation = _read_relation(lowered, things) if len(things) > 1 else None
    return Scene(tuple(things), relation, background, style)


def _read_relation(lowered: str, things: list[Thing]) -> Relation:
    padded = re.sub(r"\W+", " ", f" {lowered} ")
    for words, relation in _RELATIONS[:-2]:
        if f" {words} " in padded:
            return relation
    return "next to"


def write(scene: Scene) -> str:
    """Write a scene as a prompt; `read(write(scene))` gives the scene back."""
    parts = [_write_thing(thing) for thing in scene.things]
    text = parts[0]
    if len(parts) > 1:
        relation = scene.relation or "next to"
        text += f" {'to the ' if relation in ('left of', 'right of') else ''}{relation} {parts[1]}"
    text += "".join(f" and {part}" for part in parts[2:])
    if scene.background:
        text += f" {scene.background}"
    if scene.style:
        text += f", {scene.style}"
    return text


def _write_thing(thing: Thing) -> str:
    kind = BY_NAME[thing.kind]
    words = [word for word in (thing.size, thing.color) if word]
    if thing.count > 1:
        return " ".join([_NUMBER_WORDS[thing.count], *words, kind.plural])
    noun = [*words, kind.name]
    article = "an" if noun[0][0] in "aeio" or noun[0] == "umbrella" else "a"
    return " ".join([article, *noun])


def draw(random: Random) -> Scene:
    """Draw a scene of our own grammar: 1-3 things, colours, counts, sizes, a relation, a background, a style."""
    n = random.choices((1, 2, 3), (0.45, 0.45, 0.10))[0]
    kinds = random.sample(KINDS, n)
    things = tuple(
        Thing(
            kind.name,
            count=random.choices((1, 2, 3, 4), (0.70, 0.14, 0.10, 0.06))[0] if n < MOST_THINGS else 1,
            color=random.choice(list(COLORS)) if random.random() < 0.45 else None,
            size=random.choice(("small", "big")) if n > 1 and random.random() < 0.15 else None,
        )
        for kind in kinds
    )
    return Scene(
        things,
        relation=random.choice(("left of", "right of", "above", "below", "next to")) if n > 1 else None,
        background=random.choice(list(BACKGROUNDS)) if random.random() < 0.6 else None,
        style=random.choice(list(STYLES)) if random.random() < 0.4 else None,
    )
