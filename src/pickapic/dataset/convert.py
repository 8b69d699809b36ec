"""Write rankings read from a foreign annotation file as a dataset of ours: pairs of images with a pick."""

from __future__ import annotations

import hashlib
import io
import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa

from pickapic.dataset.foreign import FORMATS, Format, Ranking, Reading
from pickapic.dataset.journal import Plan
from pickapic.dataset.manifest import About, LeftOut, Manifest, file_sha256
from pickapic.dataset.schema import SCHEMA, SCHEMA_NO_IMAGES, SPLITS, TIE, TRAIN
from pickapic.dataset.write import SHARD_BYTES, DatasetWriter
from pickapic.model.picture import MAX_PIXELS, open_encoded, read_encoded, read_header
from pickapic.plugins import nearest
from pickapic.records import InputError

UNKNOWN_TIME = datetime(1970, 1, 1)
"""The time of every pick: the files have none, and a column without values would be no dataset of ours."""

BAD_IMAGE, SAME_IMAGE = "an image is missing or cannot be read", "the same image on both sides"
ROWS_AT_ONCE = 256

Advance = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Source:
    """An annotation file, how to read it, and the folder that its image paths start from (None: no images)."""

    path: Path
    format: Format
    reading: Reading
    images: Path | None

    def rankings(self) -> Iterator[Ranking]:
        """Read the file from its start.

        Raises:
            InputError: an entry lacks a key, has an unknown one, or a value of the wrong kind.
        """
        return self.format.read(self.path, self.reading)


@dataclass(frozen=True, slots=True)
class Survey:
    """What reading the file once has shown: its pairs, by prompt, and what is left out of them."""

    pairs: int
    examples: Counter[str]
    left_out: tuple[LeftOut, ...]
    bad_images: frozenset[str] = field(default_factory=frozenset[str])


@dataclass(frozen=True, slots=True)
class Pair:
    """Two images of a ranking, on the sides that they are shown on. `label_0` is 1, 0, or 0.5 for a tie."""

    ranking: Ranking
    ranking_id: int
    left: int
    right: int
    label_0: float


def source(
    kind: str, path: str | Path, images: str | Path | None = None, reading: Reading | None = None
) -> Source:
    """Describe what is to be converted.

    Raises:
        InputError: there is no such format, or no folder `images`.
    """
    if kind not in FORMATS:
        raise InputError(f"there is no format {kind!r}{nearest(kind, FORMATS)}; known: {', '.join(FORMATS)}")
    if images is not None and not Path(images).is_dir():
        raise InputError(f"there is no folder {str(images)!r} to read images from")
    return Source(Path(path), FORMATS[kind], reading or Reading(), None if images is None else Path(images))


def survey(given: Source, *, skip_bad_images: bool = False, on_progress: Advance | None = None) -> Survey:
    """Read the annotations once, and with `skip_bad_images` every image: a prompt's number of rows is in each row.

    `on_progress` is told of each ranking.

    Raises:
        InputError: as `Source.rankings`; or there is no pair at all.
    """
    bad: dict[str, bool] = {}
    examples: Counter[str] = Counter()
    out: Counter[str] = Counter()
    for ranking in given.rankings():
        if given.images is not None and skip_bad_images:
            for name in ranking.images:
                if name not in bad:
                    bad[name] = not _can_be_read(given.images, name)
        for i, j in _comparisons(ranking):
            reason = _left_out(ranking, i, j, bad)
            if reason:
                out[reason] += 1
            else:
                examples[ranking.prompt] += 1
        if on_progress is not None:
            on_progress(1)
    if not examples:
        raise InputError(f"{given.path} has no pair of images to convert ({out.total():,} left out)")
    left_out = tuple(LeftOut(reason, count) for reason, count in out.items())
    return Survey(
        examples.total(), examples, left_out, frozenset(name for name, is_bad in bad.items() if is_bad)
    )


def convert(
    given: Source,
    out: str | Path,
    surveyed: Survey,
    *,
    split: str | None = None,
    shard_bytes: int = SHARD_BYTES,
    overwrite: bool = False,
    on_progress: Advance | None = None,
) -> Manifest:
    """Write the pairs as the dataset folder `out`, row by row; it gets its name when it is complete.

    A run that was stopped is taken up by the next of the same file and choices, as long as the images stay the same.

    A ranking of n images becomes its n(n - 1)/2 pairs, ties where ranks are equal. Which image is image 0 is
    drawn from the content of the pair (the files put the better one first, or do not say what was on the left).
    `ranking_id` is made of prompt, images and judge: the same in every file and run. Images that are neither
    JPEG nor PNG are stored as PNG.

    Args:
        given: the file.
        out: folder to write.
        surveyed: what `survey` found in `given`.
        split: name of the only split; from the file's name by default (`metadata-test.parquet`: test).
        shard_bytes: a new file is begun when one has so many bytes.
        overwrite: replace a dataset at `out`.
        on_progress: is told how many more pairs are written.

    Raises:
        InputError: an image is missing or cannot be read; or as `Source.rankings` and `DatasetWriter`.
    """
    name = split or split_of(given.path)
    rows = _Rows(given.images is not None)
    advance = on_progress or (lambda pairs: None)
    digest = file_sha256(given.path)
    with DatasetWriter(
        out,
        _about(given),
        images=rows.images,
        shard_bytes=shard_bytes,
        overwrite=overwrite,
        plan=_plan(given, surveyed, digest),
        splits=(name,),
    ) as writer:
        first = surveyed.pairs if writer.is_finished else writer.kept(name)
        advance(first)
        rest = itertools.islice(_pairs(given, surveyed), first, None) if first < surveyed.pairs else ()
        for ranking, pairs in itertools.groupby(rest, key=lambda pair: pair.ranking):
            pictures: dict[int, bytes] = {}
            for pair in pairs:
                if given.images is not None:
                    for side in {pair.left, pair.right} - set(pictures):
                        pictures[side] = _picture(given.images, ranking.images[side], ranking.where)
                rows.add(pair, surveyed.examples[ranking.prompt], pictures)
                if len(rows) >= ROWS_AT_ONCE:
                    first = _hand_over(rows, writer, name, first)
                advance(1)
        _hand_over(rows, writer, name, first)
        return writer.finish(surveyed.left_out, (("source_sha256", digest),))


def _plan(given: Source, surveyed: Survey, digest: str) -> Plan:
    bad = hashlib.sha256("\0".join(sorted(surveyed.bad_images)).encode("utf-8", "surrogatepass")).hexdigest()
    return Plan.of(
        f"convert {given.format.title}",
        annotations=digest,
        images=None if given.images is None else given.images.absolute(),
        without=bad,
        reading=given.reading,
    )


def _hand_over(rows: _Rows, writer: DatasetWriter, split: str, first: int) -> int:
    """Give the writer the rows that wait, and return the number of the next."""
    table = rows.table()
    if table.num_rows:
        writer.add(split, table, first)
    return first + table.num_rows


def split_of(path: Path) -> str:
    """Return the split that a file's name speaks of; train if it speaks of none."""
    words = re.findall(r"[A-Za-z]+", path.stem)
    named = [word for word in words if word in SPLITS]
    return named[-1] if named else TRAIN


def _pairs(given: Source, surveyed: Survey) -> Iterator[Pair]:
    bad = dict.fromkeys(surveyed.bad_images, True)
    seen: Counter[int] = Counter()
    for ranking in given.rankings():
        for i, j in _comparisons(ranking):
            if _left_out(ranking, i, j, bad):
                continue
            number = _ranking_number(ranking, i, j, 0)
            repeated = seen[number]
            seen[number] += 1
            if repeated:
                number = _ranking_number(ranking, i, j, repeated)
            left, right = (i, j) if number & 1 else (j, i)
            yield Pair(ranking, number >> 1, left, right, _label(ranking.ranks[left], ranking.ranks[right]))


def _comparisons(ranking: Ranking) -> Iterator[tuple[int, int]]:
    """Yield the pairs of a ranking that it says something of, by place, in the order of their paths."""
    by_name = sorted(range(len(ranking.images)), key=lambda place: (ranking.images[place], place))
    for i, j in itertools.combinations(by_name, 2):
        if ranking.ties or ranking.ranks[i] != ranking.ranks[j]:
            yield i, j


def _left_out(ranking: Ranking, i: int, j: int, bad: dict[str, bool]) -> str:
    first, second = ranking.images[i], ranking.images[j]
    if first == second:
        return SAME_IMAGE
    return BAD_IMAGE if bad.get(first) or bad.get(second) else ""


def _ranking_number(ranking: Ranking, i: int, j: int, repeated: int) -> int:
    """Return 54 bits made of what was judged by whom: the lowest draws the sides, the others are the id.

    An id of 53 bits survives JSON and spreadsheets.
    """
    parts = [ranking.prompt, ranking.images[i], ranking.images[j], str(ranking.user), str(repeated)]
    digest = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") >> 10


def _label(left: float, right: float) -> float:
    return 0.5 if left == right else float(left < right)


class _Rows:
    """Rows that wait to be written, by column."""

    def __init__(self, images: bool) -> None:
        self.images = images
        self.schema = SCHEMA if images else SCHEMA_NO_IMAGES
        self.columns: dict[str, list[Any]] = {name: [] for name in self.schema.names}

    def __len__(self) -> int:
        return len(self.columns["caption"])

    def add(self, pair: Pair, examples: int, pictures: dict[int, bytes]) -> None:
        ranking, sides = pair.ranking, (pair.left, pair.right)
        uids = [ranking.images[side] for side in sides]
        row: dict[str, Any] = {
            "are_different": not self.images or pictures[pair.left] != pictures[pair.right],
            "best_image_uid": {1.0: uids[0], 0.0: uids[1]}.get(pair.label_0, TIE),
            "caption": ranking.prompt,
            "created_at": UNKNOWN_TIME,
            "has_label": True,
            "label_0": pair.label_0,
            "label_1": 1 - pair.label_0,
            "ranking_id": pair.ranking_id,
            "user_id": ranking.user,
            "num_example_per_prompt": examples,
        }
        for number, side in enumerate(sides):
            row[f"image_{number}_uid"], row[f"image_{number}_url"] = uids[number], ""
            row[f"model_{number}"] = ranking.models[side]
            if self.images:
                row[f"jpg_{number}"] = pictures[side]
        for name, values in self.columns.items():
            values.append(row[name])

    def table(self) -> pa.Table:
        """Return the waiting rows, which then wait no more."""
        table = pa.table(self.columns, schema=self.schema)
        self.columns = {name: [] for name in self.schema.names}
        return table


def _picture(folder: Path, name: str, where: str) -> bytes:
    """Read an image of the source as the bytes of a JPEG or PNG file."""
    path = PurePosixPath(name)
    try:
        if path.is_absolute() or ".." in path.parts:
            raise InputError("leads out of the folder of images")
        data = read_encoded(folder / path, MAX_PIXELS)
        if read_header(data) is not None:
            return data
        file = io.BytesIO()
        open_encoded(data, MAX_PIXELS).save(file, "PNG")
        return file.getvalue()
    except InputError as error:
        raise InputError(
            f"{where}: the image {name!r} in {folder} {error}; nothing is written "
            "(--on-error skip leaves such pairs out)"
        ) from error


def _can_be_read(folder: Path, name: str) -> bool:
    try:
        _picture(folder, name, "")
    except InputError:
        return False
    return True


def _about(given: Source) -> About:
    notes = [
        f"Converted from {given.path.name}.",
        "The file has no times: created_at is 1970-01-01 in every row. user_id is a number made of the annotator's "
        "name where the file has one, else -1.",
        "Which image is image 0 was drawn by the conversion: sides mean nothing here.",
    ]
    if given.reading.annotators:
        notes.append(
            "Every annotator's ranking is taken, so a pair is in as many rows as annotators ranked it."
        )
    return About(given.format.title, given.format.summary, given.format.licence, tuple(notes))
