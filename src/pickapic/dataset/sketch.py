"""What a set of picks consists of, small enough to be compared: its prompts, image uids, images' hashes, users."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import imagehash
import numpy as np
import polars as pl
import pyarrow as pa
from PIL import Image

from pickapic.dataset.read import REPEATED, batches, column_names, locate
from pickapic.dataset.schema import IMAGE_COLUMNS, SPLITS
from pickapic.model.picture import MAX_PIXELS, open_encoded, read_header, refuse_size, rgb
from pickapic.records import InputError

PROMPTS, UIDS, USERS, RANKINGS = "prompts", "uids", "users", "rankings"
COLUMNS = {
    PROMPTS: ("caption",),
    UIDS: ("image_0_uid", "image_1_uid"),
    USERS: ("user_id",),
    RANKINGS: ("ranking_id",),
}
"""The columns that each kind of value is in."""

ROWS_AT_ONCE = 65_536
IMAGE_ROWS_AT_ONCE = 64
DRAFT = 128
"""A JPEG is decoded at the smallest scale that leaves so many pixels a side: a quarter of the time at 512 px."""

_PICTURES = {"sha256": pl.Binary, "hash": pl.UInt64, "uid": pl.String, "uses": pl.UInt32}


@dataclass(frozen=True, slots=True)
class Sketch:
    """One set of picks, or one split of it.

    Attributes:
        values: for each kind of `COLUMNS` that the set has a frame of the distinct values, in the order of
            their first row: `value`, and `uses`, how many times it stands in the rows.
        pictures: a frame of the distinct images by content: `sha256` of the bytes, `hash` (64-bit perceptual
            hash, null if the bytes are no image), the first `uid`, and `uses`. None if not looked at.
        without_pictures: why there are no `pictures`; empty if there are.
    """

    name: str
    rows: int
    values: dict[str, pl.DataFrame]
    pictures: pl.DataFrame | None
    without_pictures: str = ""

    @property
    def unreadable(self) -> int:
        """How many distinct images could not be decoded, and so have no perceptual hash."""
        return 0 if self.pictures is None else self.pictures["hash"].null_count()


def sketch(
    path_or_hub_id: str | Path,
    split: str | None = None,
    *,
    images: bool = True,
    name: str | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Sketch:
    """Read a set once, hashing its images as they come; none is kept.

    Memory grows with what is distinct (some 300 bytes a value, 400 an image), not with the bytes of images.

    Args:
        path_or_hub_id: whatever `read` takes.
        split: one split; None for all rows (without `_unique`, which only repeats rows).
        images: False to leave the images alone even where there are some.
        name: what the set is called in a report; its path or split by default.
        on_progress: is told how many more rows are done.

    Raises:
        InputError: there is no such set or split, or it has none of the columns that could be compared.
    """
    present = column_names(path_or_hub_id, split)
    kinds = {kind: columns for kind, columns in COLUMNS.items() if set(columns) <= set(present)}
    if not kinds:
        wanted = ", ".join(column for columns in COLUMNS.values() for column in columns)
        raise InputError(f"{path_or_hub_id} has none of the columns that sets are compared by: {wanted}")
    reason = "" if images else "left out on request"
    if images and not set(IMAGE_COLUMNS) <= set(present):
        reason = f"{name or path_or_hub_id} holds no images"
    advance = on_progress or _no_one
    tally = {kind: _Tally(pl.String if kind in (PROMPTS, UIDS) else pl.Int64) for kind in kinds}
    columns = [column for columns in kinds.values() for column in columns]
    rows = 0
    for batch in batches(path_or_hub_id, columns, split, ROWS_AT_ONCE):
        for kind, of_kind in kinds.items():
            tally[kind].add(batch, of_kind)
        rows += batch.num_rows
        if reason:
            advance(batch.num_rows)
    return Sketch(
        name or split or str(path_or_hub_id),
        rows,
        {kind: counted.frame() for kind, counted in tally.items()},
        None if reason else _pictures(path_or_hub_id, split, UIDS in kinds, advance),
        reason,
    )


def splits_to_compare(path_or_hub_id: str | Path) -> list[str]:
    """Return the splits of a set without `_unique` ones whose rows are all in another split too; train comes first."""
    found = locate(path_or_hub_id).files
    names = [*(name for name in SPLITS if name in found), *(name for name in found if name not in SPLITS)]
    return [name for name in names if name not in REPEATED or name.removesuffix("_unique") not in names]


def perceptual_hash(data: bytes) -> int | None:
    """Return the 64-bit pHash of an encoded image; None if the bytes are no image that can be decoded.

    The hash of the library imagehash: the signs, against their median, of the 8 x 8 lowest frequencies of a
    32 x 32 grey picture. Stored again (JPEG at quality 60, WebP) or halved, an image differs from itself in
    at most 4 bits, different images in some 30 (docs/overlap.md). Pictures of one colour are all alike.
    """
    try:
        bits = imagehash.phash(_small(data)).hash
    except Exception:
        # Pillow's plugins raise whatever their parsing trips over; a broken image is counted, not fatal.
        return None
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def _small(data: bytes) -> Image.Image:
    header = read_header(data)
    if header is None or header.kind != "JPEG" or not header.plain:
        return rgb(open_encoded(data, MAX_PIXELS))
    refuse_size(header.width, header.height, MAX_PIXELS)
    image = Image.open(io.BytesIO(data), formats=["JPEG"])
    image.draft("L", (DRAFT, DRAFT))
    return image


class _Tally:
    """The distinct values of some columns and their number, counted batch by batch."""

    def __init__(self, kind: type[pl.DataType]) -> None:
        self.parts = [pl.DataFrame(schema={"value": kind, "uses": pl.UInt32})]
        self.waiting = 0

    def add(self, batch: pa.RecordBatch, columns: Iterable[str]) -> None:
        for column in columns:
            values = pl.Series("value", batch.column(column)).drop_nulls()
            counted = values.to_frame().group_by("value", maintain_order=True).agg(uses=pl.len())
            self.parts.append(counted)
            self.waiting += counted.height
        # Many batches repeat the same values: put together now and then, they take the room of one.
        if self.waiting > 20 * ROWS_AT_ONCE:
            self.parts, self.waiting = [self.frame()], 0

    def frame(self) -> pl.DataFrame:
        together = pl.concat(self.parts).group_by("value", maintain_order=True)
        return together.agg(pl.col("uses").sum().cast(pl.UInt32))


def _pictures(
    path: str | Path, split: str | None, with_uids: bool, advance: Callable[[int], None]
) -> pl.DataFrame:
    """Hash every image of a set; what was seen before, byte for byte, is not decoded again."""
    number: dict[bytes, int] = {}
    uids: list[str] = []
    uses: list[int] = []
    hashes: list[int | None] = []
    columns = [*IMAGE_COLUMNS, *(COLUMNS[UIDS] if with_uids else ())]
    # Pillow decodes outside Python's lock, so threads are enough.
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        for batch in batches(path, columns, split, IMAGE_ROWS_AT_ONCE):
            new: list[bytes] = []
            for data, uid in _images(batch, with_uids):
                digest = hashlib.sha256(data).digest()
                if digest not in number:
                    number[digest] = len(number)
                    uids.append(uid)
                    uses.append(0)
                    new.append(data)
                uses[number[digest]] += 1
            hashes.extend(pool.map(perceptual_hash, new))
            advance(batch.num_rows)
    return pl.DataFrame({"sha256": list(number), "hash": hashes, "uid": uids, "uses": uses}, schema=_PICTURES)


def _images(batch: pa.RecordBatch, with_uids: bool) -> Iterator[tuple[bytes, str]]:
    for side, column in enumerate(IMAGE_COLUMNS):
        uids = batch.column(f"image_{side}_uid").to_pylist() if with_uids else [""] * batch.num_rows
        for data, uid in zip(batch.column(column), uids, strict=True):
            if data.is_valid:
                yield data.as_py(), uid or ""


def _no_one(rows: int) -> None:
    """Is told of progress where nobody listens."""
