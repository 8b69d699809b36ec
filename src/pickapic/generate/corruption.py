"""Spoiled copies: what everybody who looks finds worse than the image itself.

Six kinds, one drawn for each copy, each so strong that it shows at a glance on a phone:

    blur      Gaussian, radius 4 to 6 % of the shorter side: shapes are left, no detail
    blocks    14 to 20 squares along the shorter side
    shuffle   cut in 4 x 4 to 6 x 6 tiles, none of which stays in its place
    noise     grain of 2 % of the shorter side, standard deviation 70 to 95 of 255 in each channel
    poster    44 to 56 dots along the shorter side, one bit a channel with noise, the channels swapped
    crop      a corner of 35 to 45 % of each side, enlarged and turned by 150 to 210 degrees

Afterwards the copy has about the original's file size: blur alone would halve it and grain would double it, and
a script that compares Content-Length would need no eyes. What shrank gets fine grain, what grew is smoothed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from pickapic.generate.encoding import encode

Pixels = NDArray[np.float32]
"""(height, width, 3), 0 to 255."""

SIZE_TOLERANCE = 0.12
"""How far, as a share of it, a copy's file may be from the size of the original's, where that can be had."""
STEPS = 7
GRAIN = 48.0
SMOOTHING = 0.02
SWAPS = ((1, 2, 0), (2, 0, 1))


@dataclass(frozen=True, slots=True)
class Spoiled:
    """A spoiled copy, the kind of its corruption, and its JPEG bytes."""

    pixels: Image.Image
    kind: str
    data: bytes


def spoil(pixels: Image.Image, seed: int) -> Spoiled:
    """Return a spoiled copy of the same size; kind and strength are drawn from `seed`."""
    rng = Random(seed)
    kind = _draw_kind(rng)
    original = pixels.convert("RGB")
    spoiled = KINDS[kind](original, rng)
    return _weigh_alike(spoiled, len(encode(original)), kind, np.random.default_rng(rng.getrandbits(32)))


def kind_of(seed: int) -> str:
    """Return the kind that `spoil` draws from a seed."""
    return _draw_kind(Random(seed))


def _draw_kind(rng: Random) -> str:
    return rng.choice(tuple(KINDS))


def _blur(pixels: Image.Image, rng: Random) -> Image.Image:
    return pixels.filter(ImageFilter.GaussianBlur(min(pixels.size) * rng.uniform(0.04, 0.06)))


def _blocks(pixels: Image.Image, rng: Random) -> Image.Image:
    count = rng.randint(14, 20)
    scale = min(pixels.size) / count
    few = (max(1, round(pixels.width / scale)), max(1, round(pixels.height / scale)))
    return pixels.resize(few, Image.Resampling.BOX).resize(pixels.size, Image.Resampling.NEAREST)


def _shuffle(pixels: Image.Image, rng: Random) -> Image.Image:
    count = rng.randint(4, 6)
    width, height = -(-pixels.width // count), -(-pixels.height // count)
    # A sheet of whole tiles; what it has too much is cut off again.
    sheet = pixels.resize((width * count, height * count), Image.Resampling.BICUBIC)
    places = [(x * width, y * height) for y in range(count) for x in range(count)]
    order = list(range(len(places)))
    rng.shuffle(order)
    mixed = Image.new("RGB", sheet.size)
    # Each tile goes to the place of the one after it in a random ring: so none stays.
    for tile, place in zip(order, order[1:] + order[:1], strict=True):
        x, y = places[tile]
        mixed.paste(sheet.crop((x, y, x + width, y + height)), places[place])
    return mixed.crop((0, 0, *pixels.size))


def _noise(pixels: Image.Image, rng: Random) -> Image.Image:
    grain = max(1.0, min(pixels.size) * 0.02)
    shape = (max(1, round(pixels.height / grain)), max(1, round(pixels.width / grain)), 3)
    drawn = np.random.default_rng(rng.getrandbits(32)).normal(0.0, rng.uniform(70, 95), shape)
    coarse = Image.fromarray(np.clip(128 + drawn, 0, 255).astype(np.uint8))
    noise = np.asarray(coarse.resize(pixels.size, Image.Resampling.BILINEAR), np.float32) - 128
    return _image(np.asarray(pixels, np.float32) + noise)


def _poster(pixels: Image.Image, rng: Random) -> Image.Image:
    cell = min(pixels.size) / rng.randint(44, 56)
    few = (max(1, round(pixels.width / cell)), max(1, round(pixels.height / cell)))
    values = np.array(pixels.resize(few, Image.Resampling.BOX), np.float32)[:, :, rng.choice(SWAPS)]
    grain = np.random.default_rng(rng.getrandbits(32)).normal(0.0, 45.0, values.shape).astype(np.float32)
    values += grain
    two = np.where(values > np.median(values, axis=(0, 1)), 225.0, 30.0).astype(np.float32)
    return _image(two).resize(pixels.size, Image.Resampling.BILINEAR)


def _crop(pixels: Image.Image, rng: Random) -> Image.Image:
    share = rng.uniform(0.35, 0.45)
    width, height = round(pixels.width * share), round(pixels.height * share)
    x = rng.choice((0, pixels.width - width))
    y = rng.choice((0, pixels.height - height))
    corner = pixels.crop((x, y, x + width, y + height)).resize(pixels.size, Image.Resampling.BILINEAR)
    return corner.rotate(rng.uniform(150, 210), Image.Resampling.BILINEAR, fillcolor=(40, 40, 40))


KINDS: dict[str, Callable[[Image.Image, Random], Image.Image]] = {
    "blur": _blur,
    "blocks": _blocks,
    "shuffle": _shuffle,
    "noise": _noise,
    "poster": _poster,
    "crop": _crop,
}


def _weigh_alike(pixels: Image.Image, wanted: int, kind: str, rng: np.random.Generator) -> Spoiled:
    """Bring the file of a copy near `wanted` bytes by fine grain or smoothing: by halving, a few tries."""
    data = encode(pixels)
    best = Spoiled(pixels, kind, data)
    if abs(len(data) - wanted) <= SIZE_TOLERANCE * wanted:
        return best
    smaller = len(data) < wanted
    plain = np.asarray(pixels, np.float32)
    grain = rng.normal(0.0, 1.0, plain.shape).astype(np.float32)
    low, high = 0.0, 1.0
    for _ in range(STEPS):
        strength = (low + high) / 2
        if smaller:
            changed = _image((plain + GRAIN * strength**2 * grain).astype(np.float32))
        else:
            changed = pixels.filter(ImageFilter.GaussianBlur(strength * SMOOTHING * min(pixels.size)))
        data = encode(changed)
        if abs(len(data) - wanted) < abs(len(best.data) - wanted):
            best = Spoiled(changed, kind, data)
        if abs(len(data) - wanted) <= SIZE_TOLERANCE * wanted:
            break
        too_little = len(data) < wanted if smaller else len(data) > wanted
        low, high = (strength, high) if too_little else (low, strength)
    return best


def _image(values: Pixels) -> Image.Image:
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))
