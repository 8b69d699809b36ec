"""The files of a gold pair, as somebody brought them and as they are stored."""

from __future__ import annotations

import io

from PIL import Image, ImageOps

from pickapic.records import InputError

LONGEST_SIDE = 2048
FORMATS = ("JPEG", "PNG", "WEBP")
_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)


def normal(data: bytes, max_pixels: int) -> bytes:
    """Return an image upright, in RGB, at most LONGEST_SIDE pixels a side, without metadata, as a PNG.

    Not as a JPEG: the worker that shows it in a duel stores it as it stores every image, and compressed twice
    it could be told apart. The pixels are counted from the header, before any is decoded.

    Raises:
        InputError: it cannot be read, is of another kind than those in FORMATS, or has more than `max_pixels`.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > max_pixels:
                raise InputError(
                    f"An image of {image.width} x {image.height} has more pixels than the {max_pixels:,} possible."
                )
            upright = ImageOps.exif_transpose(image).convert("RGB")
    except _BOMBS as error:
        raise InputError(f"An image has more pixels than the {max_pixels:,} that are possible.") from error
    except (OSError, ValueError, SyntaxError) as error:
        raise InputError(f"An image cannot be read; {', '.join(FORMATS)} are possible.") from error
    upright.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    upright.info.clear()
    file = io.BytesIO()
    upright.save(file, "PNG")
    return file.getvalue()
