"""Drawing styles: each turns a 256 px RGB picture into the same picture by another hand."""

from __future__ import annotations

import functools
from collections.abc import Callable
from random import Random

from PIL import Image, ImageChops, ImageEnhance, ImageFilter, ImageOps


def levels(image: Image.Image, change: Callable[[int], int]) -> Image.Image:
    """Return the picture with `change` applied to every value (0..255) of every channel."""
    table = [min(255, max(0, change(value))) for value in range(256)]
    return image.point(table * len(image.getbands()))


@functools.cache
def _grain(side: int, low: int, softness: float) -> Image.Image:
    """Return a paper grain, RGB, values `low`..255."""
    random = Random(7)
    noise = Image.frombytes("L", (side, side), random.randbytes(side * side)).filter(
        ImageFilter.GaussianBlur(softness)
    )
    noise = ImageOps.autocontrast(noise, cutoff=2)
    return levels(noise, lambda value: low + (255 - low) * value // 255).convert("RGB")


def watercolor(image: Image.Image) -> Image.Image:
    """Washed colours on grainy paper with darker edges."""
    soft = image.resize((64, 64), Image.Resampling.BOX).resize(image.size, Image.Resampling.BICUBIC)
    wash = Image.blend(image.filter(ImageFilter.MedianFilter(3)), soft, 0.55)
    wash = Image.blend(ImageOps.posterize(wash, 4), Image.new("RGB", image.size, (255, 253, 246)), 0.28)
    return ImageChops.multiply(wash, _grain(image.width, 190, 1.6))


def pixel_art(image: Image.Image) -> Image.Image:
    """Large square pixels in few colours."""
    small = (
        image.resize((40, 40), Image.Resampling.BOX)
        .quantize(20, method=Image.Quantize.FASTOCTREE)
        .convert("RGB")
    )
    return small.resize(image.size, Image.Resampling.NEAREST)


def pencil_sketch(image: Image.Image) -> Image.Image:
    """Dark strokes on white paper: the grey picture dodged by its own blur."""
    grey = ImageOps.autocontrast(image.convert("L"), cutoff=1)
    lines = grey.filter(ImageFilter.GaussianBlur(0.6)).filter(ImageFilter.CONTOUR)
    dodge = ImageChops.subtract(grey.filter(ImageFilter.GaussianBlur(6)), grey)
    strokes = ImageChops.subtract(lines, levels(dodge, lambda value: 3 * value))
    shade = levels(grey, lambda value: 190 + 65 * value // 255)
    drawn = ImageChops.multiply(
        ImageChops.multiply(strokes, shade), _grain(image.width, 226, 1.0).convert("L")
    )
    return levels(drawn, lambda value: (8 * value - 740) // 5).convert("RGB")


def neon(image: Image.Image) -> Image.Image:
    """Glowing outlines in the dark."""
    edges = image.filter(ImageFilter.GaussianBlur(1)).filter(ImageFilter.FIND_EDGES)
    vivid = ImageEnhance.Color(ImageEnhance.Brightness(edges).enhance(4.0)).enhance(2.5)
    glow = vivid.filter(ImageFilter.BoxBlur(4))
    dark = ImageChops.multiply(image, Image.new("RGB", image.size, (64, 40, 110)))
    return ImageChops.screen(ImageChops.screen(dark, glow), vivid)


def oil_painting(image: Image.Image) -> Image.Image:
    """Thick dabs of paint with a light on their ridges."""
    small = image.resize((96, 96), Image.Resampling.BOX).filter(ImageFilter.MedianFilter(5))
    dabs = ImageEnhance.Color(small).enhance(1.25).resize(image.size, Image.Resampling.BICUBIC)
    ridges = ImageChops.add(dabs, _grain(image.width, 0, 2.2), scale=1.0, offset=-128).filter(
        ImageFilter.EMBOSS
    )
    return Image.blend(dabs, ImageChops.overlay(dabs, ridges), 0.6)


def black_and_white(image: Image.Image) -> Image.Image:
    """Grey tones with a firm contrast."""
    return ImageEnhance.Contrast(image.convert("L")).enhance(1.2).convert("RGB")


def poster(image: Image.Image) -> Image.Image:
    """Flat areas of few strong colours inside dark outlines."""
    smooth = (
        image.resize((128, 128), Image.Resampling.BOX).filter(ImageFilter.MedianFilter(3)).resize(image.size)
    )
    flat = ImageOps.posterize(ImageEnhance.Color(smooth).enhance(1.5), 2)
    edges = image.convert("L").filter(ImageFilter.FIND_EDGES).filter(ImageFilter.MaxFilter(3))
    outline = levels(edges, lambda value: 0 if value > 40 else 255).convert("RGB")
    return ImageChops.multiply(levels(flat, lambda value: value + 48), outline)


_STYLES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "watercolor": watercolor,
    "pixel art": pixel_art,
    "pencil sketch": pencil_sketch,
    "neon": neon,
    "oil painting": oil_painting,
    "black and white": black_and_white,
    "poster": poster,
}


def in_style(image: Image.Image, style: str, strength: float) -> Image.Image:
    """Return the picture in `style`, carried out by `strength` (0: untouched, 1: fully)."""
    return Image.blend(image, _STYLES[style](image), strength)
