"""The one form in which images are stored, and fitted to one size within a duel."""

from __future__ import annotations

import io

from PIL import Image

JPEG_QUALITY = 92


def encode(pixels: Image.Image) -> bytes:
    """Return the one form in which images are stored: JPEG, quality 92, no chroma subsampling, no metadata."""
    file = io.BytesIO()
    plain = pixels.convert("RGB")  # a copy, even of RGB
    plain.info.clear()  # where Pillow would find comments, profiles and EXIF to write
    plain.save(file, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return file.getvalue()


def fit(pixels: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return `pixels` as (width, height) `size`: cut to its shape around the centre, then resized by Lanczos."""
    if pixels.size == size:
        return pixels
    width, height = pixels.size
    scale = min(width / size[0], height / size[1])
    cut_width, cut_height = size[0] * scale, size[1] * scale
    left, top = (width - cut_width) / 2, (height - cut_height) / 2
    box = (left, top, left + cut_width, top + cut_height)
    # Palettes and single bits cannot be resampled.
    return pixels.convert("RGB").resize(size, Image.Resampling.LANCZOS, box=box)
