"""Painted backgrounds: ten named places and plain studio walls, each in a few variants, drawn once and kept."""

from __future__ import annotations

import functools
from collections.abc import Callable
from random import Random

from PIL import Image, ImageChops, ImageDraw, ImageFilter

SIDE = 256
VARIANTS = 4
"""Variants of a named place; plain walls have `WALLS`."""

Color = tuple[int, int, int]
WALLS: tuple[tuple[Color, Color], ...] = (
    ((252, 236, 214), (240, 205, 170)),
    ((222, 238, 250), (176, 206, 232)),
    ((228, 244, 228), (178, 214, 182)),
    ((246, 228, 240), (218, 184, 208)),
    ((240, 240, 236), (206, 206, 202)),
    ((232, 228, 248), (190, 182, 224)),
    ((250, 244, 206), (230, 214, 150)),
    ((214, 226, 230), (150, 172, 180)),
)


@functools.cache
def background(name: str | None, variant: int) -> Image.Image:
    """Return the RGB picture of a place (None: a plain wall). Shared: copy it before drawing on it."""
    if name is None:
        top, bottom = WALLS[variant % len(WALLS)]
        return gradient(top, bottom)
    return _PAINTERS[name](Random(f"{name}{variant % VARIANTS}"))


def gradient(top: Color, bottom: Color, height: int = SIDE) -> Image.Image:
    """Return a vertical gradient, SIDE wide."""
    ramp = Image.linear_gradient("L").resize((SIDE, height))
    return Image.composite(
        Image.new("RGB", (SIDE, height), bottom), Image.new("RGB", (SIDE, height), top), ramp
    )


def _ground(image: Image.Image, top: Color, bottom: Color, horizon: int) -> ImageDraw.ImageDraw:
    image.paste(gradient(top, bottom, SIDE - horizon), (0, horizon))
    return ImageDraw.Draw(image)


def _hills(draw: ImageDraw.ImageDraw, random: Random, color: Color, base: int, height: int) -> None:
    for _ in range(4):
        x, wide = random.randrange(-40, SIDE), random.randrange(120, 220)
        tall = random.randrange(height // 2, height)
        draw.ellipse((x - wide // 2, base - tall, x + wide // 2, base + tall), fill=color)


def _beach(random: Random) -> Image.Image:
    image = gradient((120, 200, 245), (214, 240, 252))
    draw = _ground(image, (36, 140, 200), (96, 200, 216), random.randrange(110, 130))
    draw.ellipse((196, 18, 236, 58), fill=(255, 240, 170))
    sand = random.randrange(160, 178)
    _ground(image, (246, 222, 164), (226, 188, 118), sand)
    draw.ellipse((-60, sand - 14, 200, sand + 12), fill=(246, 222, 164))
    return image


def _forest(random: Random) -> Image.Image:
    image = gradient((170, 214, 170), (96, 150, 96))
    draw = _ground(image, (70, 122, 58), (38, 78, 36), 186)
    for depth, shade in ((0, (104, 152, 104)), (1, (62, 112, 66)), (2, (32, 78, 44))):
        for _ in range(5):
            x, wide, base = random.randrange(0, SIDE), random.randrange(30, 54), 176 + 12 * depth
            draw.rectangle((x - 4, base - 60, x + 4, base), fill=(84, 60, 40))
            for step in range(3):
                y = base - 40 - 32 * step
                draw.polygon(
                    [(x - wide + 8 * step, y + 20), (x + wide - 8 * step, y + 20), (x, y - 34)], fill=shade
                )
    return image


def _city(random: Random) -> Image.Image:
    image = gradient((176, 200, 224), (232, 226, 214))
    draw = ImageDraw.Draw(image)
    for row, shade in ((0, (140, 152, 172)), (1, (96, 106, 128))):
        x = -10
        while x < SIDE:
            wide, tall = random.randrange(26, 48), random.randrange(70, 150 - 30 * row)
            draw.rectangle((x, 206 - tall, x + wide, 206), fill=shade)
            for wx in range(x + 5, x + wide - 6, 9):
                for wy in range(212 - tall, 198, 13):
                    if random.random() < 0.6:
                        draw.rectangle((wx, wy, wx + 4, wy + 6), fill=(248, 226, 150))
            x += wide + random.randrange(0, 8)
    draw.rectangle((0, 206, SIDE, SIDE), fill=(86, 88, 94))
    for x in range(8, SIDE, 48):
        draw.rectangle((x, 228, x + 26, 233), fill=(236, 224, 150))
    return image


def _space(random: Random) -> Image.Image:
    image = gradient((14, 12, 40), (46, 20, 78))
    draw = ImageDraw.Draw(image)
    for _ in range(90):
        x, y, r = random.randrange(SIDE), random.randrange(SIDE), random.choice((0, 1, 1, 2))
        draw.ellipse((x - r, y - r, x + r, y + r), fill=(255, 250, 230))
    x, y, r = random.randrange(30, 226), random.randrange(24, 80), random.randrange(18, 34)
    draw.ellipse(
        (x - r, y - r, x + r, y + r), fill=random.choice(((214, 120, 80), (120, 170, 220), (210, 180, 120)))
    )
    draw.arc((x - 2 * r, y - r // 2, x + 2 * r, y + r // 2), 340, 200, fill=(230, 210, 170), width=4)
    return image


def _under_water(random: Random) -> Image.Image:
    image = gradient((60, 190, 220), (8, 60, 120))
    draw = _ground(image, (190, 176, 120), (120, 110, 84), 226)
    rays = Image.new("RGB", (SIDE, SIDE))
    ray_draw = ImageDraw.Draw(rays)
    for _ in range(4):
        x = random.randrange(0, SIDE)
        ray_draw.polygon([(x, 0), (x + 24, 0), (x - 30, SIDE), (x - 90, SIDE)], fill=(40, 60, 60))
    for _ in range(9):
        x, tall = random.randrange(0, SIDE), random.randrange(30, 90)
        for y in range(SIDE - tall, SIDE, 8):
            draw.ellipse((x - 5 + (y % 16), y, x + 5 + (y % 16), y + 10), fill=(24, 120, 84))
    for _ in range(14):
        x, y, r = random.randrange(SIDE), random.randrange(200), random.randrange(2, 6)
        draw.ellipse((x - r, y - r, x + r, y + r), outline=(210, 240, 250), width=1)
    return ImageChops.add(image, rays.filter(ImageFilter.GaussianBlur(6)))


def _snow(random: Random) -> Image.Image:
    image = gradient((176, 206, 232), (226, 236, 246))
    draw = _ground(image, (252, 253, 255), (222, 232, 244), 168)
    for _ in range(3):
        x, tall = random.randrange(0, SIDE), random.randrange(60, 110)
        draw.polygon([(x - tall, 176), (x + tall, 176), (x, 176 - tall)], fill=(150, 170, 196))
        draw.polygon(
            [(x - tall // 3, 176 - 2 * tall // 3), (x + tall // 3, 176 - 2 * tall // 3), (x, 176 - tall)],
            fill=(250, 252, 255),
        )
    _hills(draw, random, (244, 248, 253), 240, 70)
    for _ in range(60):
        x, y, r = random.randrange(SIDE), random.randrange(SIDE), random.choice((1, 2))
        draw.ellipse((x - r, y - r, x + r, y + r), fill=(255, 255, 255))
    return image


def _desert(random: Random) -> Image.Image:
    image = gradient((132, 190, 226), (250, 226, 178))
    draw = _ground(image, (236, 184, 104), (202, 136, 66), 158)
    _hills(draw, random, (226, 166, 86), 190, 56)
    _hills(draw, random, (212, 148, 74), 250, 70)
    draw.ellipse((30, 20, 74, 64), fill=(255, 246, 200))
    return image


def _sunset(random: Random) -> Image.Image:
    image = gradient((92, 44, 120), (255, 150, 74))
    x = random.randrange(60, 196)
    ImageDraw.Draw(image).ellipse((x - 38, 116, x + 38, 192), fill=(255, 226, 120))
    draw = _ground(image, (84, 40, 70), (40, 20, 46), 180)
    _hills(draw, random, (62, 30, 64), 190, 40)
    return image


def _night(random: Random) -> Image.Image:
    image = gradient((8, 14, 44), (30, 48, 96))
    draw = ImageDraw.Draw(image)
    for _ in range(50):
        x, y = random.randrange(SIDE), random.randrange(150)
        draw.ellipse((x, y, x + 1, y + 1), fill=(230, 236, 255))
    x = random.randrange(40, 216)
    draw.ellipse((x - 22, 20, x + 22, 64), fill=(244, 240, 210))
    draw.ellipse((x - 10, 14, x + 30, 56), fill=(12, 20, 54))
    draw = _ground(image, (20, 34, 44), (10, 18, 26), 196)
    _hills(draw, random, (16, 28, 40), 204, 50)
    return image


def _meadow(random: Random) -> Image.Image:
    image = gradient((126, 196, 244), (220, 240, 250))
    draw = _ground(image, (140, 204, 92), (76, 150, 60), 150)
    _hills(draw, random, (120, 188, 84), 170, 60)
    for _ in range(3):
        x, y = random.randrange(SIDE), random.randrange(20, 70)
        for dx in (-18, 0, 18):
            draw.ellipse((x + dx - 16, y - 10, x + dx + 16, y + 12), fill=(255, 255, 255))
    for _ in range(40):
        x, y = random.randrange(SIDE), random.randrange(170, SIDE)
        draw.ellipse(
            (x - 2, y - 2, x + 2, y + 2),
            fill=random.choice(((255, 255, 255), (255, 220, 90), (240, 120, 150))),
        )
    return image


_PAINTERS: dict[str, Callable[[Random], Image.Image]] = {
    "on the beach": _beach,
    "in a forest": _forest,
    "in the city": _city,
    "in space": _space,
    "under water": _under_water,
    "in the snow": _snow,
    "in the desert": _desert,
    "at sunset": _sunset,
    "at night": _night,
    "in a meadow": _meadow,
}
