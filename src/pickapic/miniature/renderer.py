"""Draw a depiction: 256 x 256 RGB in a few milliseconds, the same pixels for the same depiction every time."""

from __future__ import annotations

import functools
import math
import textwrap
import unicodedata
from dataclasses import dataclass
from random import Random

from PIL import Image, ImageDraw, ImageFilter, ImageFont, ImageOps

from pickapic.miniature.backgrounds import SIDE, WALLS, background
from pickapic.miniature.depiction import Depiction
from pickapic.miniature.look import Look
from pickapic.miniature.scene import COLORS, Scene, Thing
from pickapic.miniature.sprites import sprite
from pickapic.miniature.styles import in_style, levels

_INSIDE_GROUP = {
    1: ((0.0, 0.0, 1.0),),
    2: ((-0.26, 0.04, 0.58), (0.26, -0.04, 0.58)),
    3: ((-0.27, 0.2, 0.52), (0.27, 0.2, 0.52), (0.0, -0.26, 0.52)),
    4: ((-0.26, 0.25, 0.5), (0.26, 0.25, 0.5), (-0.26, -0.25, 0.5), (0.26, -0.25, 0.5)),
}
"""Where the members of a group stand: x, y and scale, in units of the group's own size."""


@dataclass(frozen=True, slots=True)
class _Box:
    x: float
    y: float
    size: float


def render(depiction: Depiction) -> Image.Image:
    """Return the picture, RGB, 256 x 256."""
    random = Random(depiction.seed)
    scene, look = depiction.scene, depiction.look
    variant = random.randrange(len(WALLS))
    image = background(scene.background, variant).copy()
    if scene.things:
        _draw_things(image, scene, depiction.sprite_set, look, random)
    else:
        _draw_title(image, depiction.title, scene.background is not None, look, random)
    _draw_clutter(image, look.clutter, random)
    if scene.style:
        image = in_style(image, scene.style, look.style_strength)
    return _light(image, look)


def _draw_things(image: Image.Image, scene: Scene, sprite_set: str, look: Look, random: Random) -> None:
    angle = random.uniform(0, 2 * math.pi)
    dx, dy = look.off_center * math.cos(angle), look.off_center * math.sin(angle)
    for thing, box in zip(scene.things, _arrange(scene, random), strict=True):
        group = box.size * look.subject * {"small": 0.62, "big": 1.25, None: 1.0}[thing.size]
        mirrored = random.random() < 0.5
        for x, y, scale in _INSIDE_GROUP[thing.count]:
            center = (
                0.5 + (box.x - 0.5) * look.subject + dx + x * group + random.uniform(-0.012, 0.012),
                0.5 + (box.y - 0.5) * look.subject + dy + y * group + random.uniform(-0.012, 0.012),
            )
            _paste(
                image,
                _shaped(thing, sprite_set, mirrored, max(8, round(group * scale * SIDE))),
                center,
                look.relief,
            )


def _arrange(scene: Scene, random: Random) -> list[_Box]:
    """Return one box a thing, in shares of the frame, before composition moves and scales them."""
    n = len(scene.things)
    if n == 1:
        return [_Box(0.5, 0.54, 0.66)]
    relation = scene.relation or "next to"
    if relation == "next to":
        relation = random.choice(("left of", "right of"))
    if relation in ("left of", "right of"):
        boxes = [_Box(0.28, 0.54, 0.44), _Box(0.72, 0.54, 0.44)]
        third = [_Box(0.2, 0.56, 0.34), _Box(0.5, 0.56, 0.34), _Box(0.82, 0.56, 0.3)]
        swap = relation == "right of"
    else:
        boxes = [_Box(0.5, 0.27, 0.42), _Box(0.5, 0.74, 0.42)]
        third = [_Box(0.36, 0.28, 0.38), _Box(0.36, 0.74, 0.38), _Box(0.78, 0.54, 0.34)]
        swap = relation == "below"
    chosen = boxes if n == 2 else third
    if swap:
        chosen[0], chosen[1] = chosen[1], chosen[0]
    return chosen


@functools.lru_cache(maxsize=4096)
def _shaped(thing: Thing, sprite_set: str, mirrored: bool, side: int) -> Image.Image:
    art = _tinted(sprite_set, thing.kind, thing.color)
    scale = side / max(art.size)
    art = art.resize(
        (max(1, round(art.width * scale)), max(1, round(art.height * scale))),
        Image.Resampling.BILINEAR,
        reducing_gap=2.0,
    )
    return ImageOps.mirror(art) if mirrored else art


@functools.lru_cache(maxsize=1024)
def _tinted(sprite_set: str, kind: str, color: str | None) -> Image.Image:
    """Return a sprite in one of the ten colours: its shades are kept, its hues replaced."""
    art = sprite(sprite_set, kind)
    if color is None:
        return art
    alpha = art.getchannel("A")
    grey = ImageOps.autocontrast(art.convert("L"), cutoff=2, mask=alpha)
    red, green, blue = COLORS[color]
    lift = 0.9 if color == "white" else 0.35 if color == "black" else 0.6
    light = (
        red + round((255 - red) * lift),
        green + round((255 - green) * lift),
        blue + round((255 - blue) * lift),
    )
    dark = (
        (red * 5 // 9, green * 5 // 9, blue * 5 // 9)
        if color == "white"
        else (red // 4, green // 4, blue // 4)
    )
    tinted = ImageOps.colorize(grey, dark, light, COLORS[color])
    tinted.putalpha(alpha)
    return tinted


def _paste(image: Image.Image, art: Image.Image, center: tuple[float, float], relief: float) -> None:
    x, y = round(center[0] * SIDE - art.width / 2), round(center[1] * SIDE - art.height / 2)
    if relief > 0.05:
        shadow = _shadow(art.width, max(6, art.width // 4), round(170 * relief))
        image.paste((10, 10, 20), (x, y + art.height - shadow.height // 2), shadow)
    image.paste(art, (x, y), art)


@functools.lru_cache(maxsize=2048)
def _shadow(width: int, height: int, darkness: int) -> Image.Image:
    mask = Image.new("L", (48, 24))
    ImageDraw.Draw(mask).ellipse((5, 4, 42, 19), fill=darkness)
    return mask.filter(ImageFilter.GaussianBlur(2.5)).resize((width, height), Image.Resampling.BILINEAR)


def _draw_title(image: Image.Image, title: str, on_place: bool, look: Look, random: Random) -> None:
    """Draw the prompt's words as a card: large, wrapped, at most nine lines."""
    plain = unicodedata.normalize("NFKD", title)  # the font that comes with Pillow has no accented letters
    text = " ".join("".join(c for c in plain if not unicodedata.combining(c)).split())[:240] or "?"
    draw = ImageDraw.Draw(image)
    if not on_place:
        red, green, blue = random.choice(list(COLORS.values()))
        draw.rectangle((14, 14, SIDE - 15, SIDE - 15), outline=(red, green, blue), width=5)
    per_line = max(10, math.ceil(math.sqrt(len(text) * 1.9)))
    lines = textwrap.wrap(text, per_line)[:9]
    size = round(min(48.0, 360 / max(map(len, lines)), 165 / len(lines)) * min(1.0, max(0.6, look.subject)))
    draw.multiline_text(
        (SIDE / 2 + look.off_center * 80, SIDE / 2),
        "\n".join(lines),
        font=_font(max(9, size)),
        anchor="mm",
        align="center",
        fill=(250, 250, 250) if on_place else (40, 40, 52),
        stroke_width=2 if on_place else 0,
        stroke_fill=(20, 20, 30),
    )


@functools.cache
def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)


def _draw_clutter(image: Image.Image, clutter: float, random: Random) -> None:
    draw = ImageDraw.Draw(image)
    for _ in range(round(clutter)):
        x, y, r = random.randrange(SIDE), random.randrange(SIDE), random.randrange(6, 15)
        color = random.choice(list(COLORS.values()))
        shape = random.randrange(3)
        if shape == 0:
            draw.ellipse((x - r, y - r, x + r, y + r), fill=color)
        elif shape == 1:
            draw.rectangle((x - r, y - r, x + r // 2, y + r // 2), fill=color)
        else:
            draw.line((x - r, y - r, x + r, y + r // 2), fill=color, width=5)


@functools.cache
def _vignette() -> Image.Image:
    return levels(Image.radial_gradient("L"), lambda value: max(0, value - 70) * 2 // 3)


def _light(image: Image.Image, look: Look) -> Image.Image:
    """Apply exposure, saturation, contrast and cast as one colour matrix, then the soft light of relief."""
    gain = 2.0**look.exposure
    contrast, saturation = look.contrast, look.saturation
    offset = 128 * (1 - contrast)
    warm = (1 + 0.22 * look.cast, 1.0, 1 - 0.30 * look.cast)
    luma = (0.299, 0.587, 0.114)
    matrix: list[float] = []
    for channel in range(3):
        row = [(1 - saturation) * weight for weight in luma]
        row[channel] += saturation
        matrix += [value * contrast * gain * warm[channel] for value in row]
        matrix.append(offset * gain)
    graded = image.convert("RGB", tuple(matrix))
    if look.relief > 0.05:
        strength = look.relief * 0.6
        graded.paste((8, 8, 20), None, levels(_vignette(), lambda value: round(value * strength)))
    return graded
