"""Rows of a prompt with its images, and their scores: a bad image costs its own row alone."""

from __future__ import annotations

import contextlib
import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from pickapic.model.preprocess import open_picture
from pickapic.records import InputError
from pickapic.scorers.scorer import Forgetful, Scorer

Key = tuple[str, str]
"""A prompt and an image's uid: what has the same key has the same score."""


@dataclass(frozen=True, slots=True)
class Row:
    """A prompt with one image, or with the two of a preference, as a source reads it.

    `prompt` is None where there is none. `images` are paths or encoded bytes; `names` say for errors where each
    came from; `uids` tell which images are the same (empty: unknown). `facts` are the values of the source's own
    columns. `problem` is set where the row cannot be scored at all.
    """

    prompt: str | None
    images: tuple[str | bytes, ...]
    names: tuple[str, ...]
    facts: tuple[Any, ...]
    uids: tuple[str, ...] = ()
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class RowScore:
    """The scores of a row's images as the scorer gave them, None for one that has none; `error` says why."""

    scores: tuple[float | None, ...]
    error: str | None = None


@dataclass(frozen=True, slots=True)
class _Picture:
    prompt: str
    image: str | bytes
    name: str


_Result = float | str
"""A score, or why there is none."""


def read_ahead(rows: Iterator[Row], size: int) -> Iterator[list[Row]]:
    """Yield runs of `size` rows; while one is scored, the next is read in a thread."""

    def read() -> list[Row]:
        return list(itertools.islice(rows, size))

    with ThreadPoolExecutor(1, thread_name_prefix="rows") as reader:
        coming = reader.submit(read)
        while run := coming.result():
            coming = reader.submit(read)
            yield run


def score_parts(
    scorer: Scorer, rows: Iterator[Row], size: int, known: Mapping[Key, float] = MappingProxyType({})
) -> Iterator[tuple[list[Row], list[RowScore]]]:
    """Yield runs of `size` rows with their scores; what the run before has scored is not scored again.

    `known` holds the scores of the run before the first. Raises as `score_rows`.
    """
    for run in read_ahead(rows, size):
        scores = score_rows(scorer, run, known)
        known = scores_by_key(run, scores)
        yield run, scores


def score_rows(
    scorer: Scorer, rows: Sequence[Row], known: Mapping[Key, float] = MappingProxyType({})
) -> list[RowScore]:
    """Score the images of `rows` in one call of the scorer, each different (prompt, uid) once.

    The result depends on the arguments alone, not on what the scorer was asked before (`Forgetful`).

    Args:
        scorer: the scorer.
        rows: any number of rows; all their images are in memory at once.
        known: scores of earlier rows (`scores_by_key`) that need not be asked for again.

    Returns:
        One result a row. An image that cannot be read, or gets no number, has None; the others have their scores.

    Raises:
        InputError: the scorer refuses every one of several images that can be opened: no row is to blame.
    """
    if isinstance(scorer, Forgetful):
        scorer.forget()
    wanted: dict[object, _Picture] = {}
    for number, row in enumerate(rows):
        if _problem(row, scorer) is None:
            for side, key in enumerate(_keys(row, number)):
                if key not in known:
                    wanted.setdefault(key, _Picture(row.prompt or "", row.images[side], row.names[side]))
    fresh = dict(zip(wanted, _score(scorer, list(wanted.values())), strict=True))
    scored: list[RowScore] = []
    for number, row in enumerate(rows):
        problem = _problem(row, scorer)
        if problem is not None:
            scored.append(RowScore((None,) * len(row.images), problem))
            continue
        found = [fresh[key] if key in fresh else known[key] for key in _keys(row, number)]
        scored.append(_gather(found))
    return scored


def scores_by_key(rows: Sequence[Row], scores: Sequence[RowScore]) -> dict[Key, float]:
    """Return the scores of the images that have a uid, for `score_rows` of the rows that follow."""
    return {
        (row.prompt or "", uid): value
        for row, score in zip(rows, scores, strict=True)
        for uid, value in zip(row.uids, score.scores, strict=False)  # a row may have no uids
        if value is not None
    }


def _problem(row: Row, scorer: Scorer) -> str | None:
    if row.problem is None and row.prompt is None and scorer.needs_prompt:
        return f"{row.names[0]}: has no prompt"
    return row.problem


def _keys(row: Row, number: int) -> list[Any]:
    return [(row.prompt or "", uid) for uid in row.uids] or [
        (number, side) for side in range(len(row.images))
    ]


def _gather(results: Sequence[_Result]) -> RowScore:
    errors = dict.fromkeys(result for result in results if isinstance(result, str))
    scores = tuple(None if isinstance(result, str) else result for result in results)
    return RowScore(scores, "; ".join(errors) or None)


def _score(scorer: Scorer, pictures: Sequence[_Picture]) -> list[_Result]:
    try:
        return _call(scorer, pictures)
    except InputError as error:
        refused = error
    results: list[_Result | None] = [_unreadable(picture) for picture in pictures]
    good = [picture for picture, result in zip(pictures, results, strict=True) if result is None]
    scores: list[_Result] | None = None
    if len(good) < len(pictures):
        # Refused again: something in it can be opened, and yet the scorer cannot read it.
        with contextlib.suppress(InputError):
            scores = _call(scorer, good)
    coming = iter(scores if scores is not None else _one_by_one(scorer, good, refused))
    return [next(coming) if result is None else result for result in results]


def _one_by_one(scorer: Scorer, pictures: Sequence[_Picture], refused: InputError) -> list[_Result]:
    results: list[_Result] = []
    for picture in pictures:
        try:
            results += _call(scorer, [picture])
        except InputError as error:
            results.append(_reason(picture, error))
    if len(results) > 1 and all(isinstance(result, str) for result in results):
        raise refused
    return results


def _call(scorer: Scorer, pictures: Sequence[_Picture]) -> list[_Result]:
    if not pictures:
        return []
    scores = scorer.score([picture.prompt for picture in pictures], [picture.image for picture in pictures])
    return [
        float(score) if math.isfinite(score) else f"{picture.name}: {scorer.name} gave no number but {score}"
        for picture, score in zip(pictures, scores, strict=True)
    ]


def _unreadable(picture: _Picture) -> str | None:
    try:
        open_picture(picture.image)
    except InputError as error:
        return _reason(picture, error)
    return None


def _reason(picture: _Picture, error: InputError) -> str:
    """Return the error with the image's name in front, and without the addresses that Pillow prints of buffers."""
    message = re.sub(r"\s*<_io\.\w+ object at 0x[0-9a-f]+>", "", str(error))
    said = "the image" if isinstance(picture.image, bytes) else picture.image
    return f"{picture.name}: {message.removeprefix(f'{said}:').strip()}"
