"""Draw the emoji sprites of the miniature world into one atlas a set.

    pip install -e '.[world]'
    npm pack @iconify-json/noto @iconify-json/fluent-emoji-flat @iconify-json/twemoji   # and unpack each
    python runs/draw_sprites.py NOTO_DIR FLUENT_DIR TWEMOJI_DIR

Cell i of an atlas (12 a row, 128 px each) shows `objects.KINDS[i]`. The PNGs are committed, so nobody needs to run
this again unless the list of kinds changes.
"""

import io
import json
import sys
from pathlib import Path

import resvg_py
from PIL import Image

from pickapic.miniature.objects import KINDS
from pickapic.miniature.sprites import CELL, COLUMNS, FOLDER

SETS = ("noto", "fluent", "twemoji")
MARGIN = 2


def draw(body: str, width: int, height: int) -> Image.Image:
    names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    svg = f'<svg {names} viewBox="0 0 {width} {height}">{body}</svg>'
    data = resvg_py.svg_to_bytes(svg_string=svg, width=2 * CELL, height=2 * CELL)
    image = Image.open(io.BytesIO(bytes(data))).convert("RGBA")
    image = image.crop(image.getchannel("A").getbbox())
    inner = CELL - 2 * MARGIN
    scale = inner / max(image.size)
    image = image.resize(
        (max(1, round(image.width * scale)), max(1, round(image.height * scale))), Image.Resampling.LANCZOS
    )
    cell = Image.new("RGBA", (CELL, CELL))
    cell.paste(image, ((CELL - image.width) // 2, (CELL - image.height) // 2))
    return cell


def main(folders: list[str]) -> None:
    for name, folder in zip(SETS, folders, strict=True):
        icons = json.loads((Path(folder) / "icons.json").read_text())
        rows = -(-len(KINDS) // COLUMNS)
        atlas = Image.new("RGBA", (COLUMNS * CELL, rows * CELL))
        for index, kind in enumerate(KINDS):
            icon = icons["icons"][kind.icon]
            cell = draw(icon["body"], icon.get("width", icons["width"]), icon.get("height", icons["height"]))
            atlas.paste(cell, (index % COLUMNS * CELL, index // COLUMNS * CELL))
        target = FOLDER / f"{name}.png"
        atlas.quantize(256, method=Image.Quantize.FASTOCTREE).save(target, optimize=True)
        print(target, target.stat().st_size)


if __name__ == "__main__":
    main(sys.argv[1:])
