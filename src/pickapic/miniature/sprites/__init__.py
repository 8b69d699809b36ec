"""Emoji artwork as RGBA cells: Noto (Apache-2.0), Fluent Emoji flat (MIT), Twemoji (CC-BY 4.0); see LICENSES.md."""

from __future__ import annotations

import functools
from pathlib import Path

from PIL import Image

from pickapic.miniature.objects import KINDS

FOLDER = Path(__file__).parent
CELL = 128
"""Side of a cell in pixels."""
COLUMNS = 12
SETS = ("noto", "fluent", "twemoji")

_INDEX = {kind.name: index for index, kind in enumerate(KINDS)}


@functools.cache
def _atlas(sprite_set: str) -> Image.Image:
    with Image.open(FOLDER / f"{sprite_set}.png") as image:
        return image.convert("RGBA")


@functools.cache
def sprite(sprite_set: str, kind: str) -> Image.Image:
    """Return the RGBA picture of a kind, cropped to what is drawn. Shared: do not change it in place."""
    index = _INDEX[kind]
    left, top = index % COLUMNS * CELL, index // COLUMNS * CELL
    cell = _atlas(sprite_set).crop((left, top, left + CELL, top + CELL))
    return cell.crop(cell.getchannel("A").getbbox())
