"""Score the two images of every example: each different (prompt, image) pair once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pickapic.records import InputError
from pickapic.scorers.scale import probabilities
from pickapic.scorers.scorer import Scorer

COLUMNS = ("caption", "image_0_uid", "image_1_uid", "jpg_0", "jpg_1")
_CHUNK = 512


@dataclass(frozen=True, slots=True)
class ExampleScores:
    """Scores of both images of each example, float32 (n,), in row order."""

    score_0: NDArray[np.float32]
    score_1: NDArray[np.float32]

    @property
    def prob_0(self) -> NDArray[np.float64]:
        """Return the probability that image 0 is preferred: the softmax over the two scores."""
        return probabilities(np.stack((self.score_0, self.score_1), axis=-1))[:, 0].astype(np.float64)


def score_examples(
    scorer: Scorer, examples: pa.Table, on_progress: Callable[[int], None] | None = None
) -> ExampleScores:
    """Score a table that has the columns `COLUMNS`.

    Consecutive rounds share the image that won, so about two fifths of the pictures would be scored twice: they are
    scored once for each prompt. `on_progress` is told how many more of the different pairs are done.

    Raises:
        InputError: an image cannot be read, or the scorer gave something that is no number.
    """
    captions = [*_strings(examples, "caption"), *_strings(examples, "caption")]
    uids = [*_strings(examples, "image_0_uid"), *_strings(examples, "image_1_uid")]
    encoded = pa.chunked_array([*examples["jpg_0"].chunks, *examples["jpg_1"].chunks])
    place: dict[tuple[str, str], int] = {}
    first: list[int] = []
    inverse = np.empty(len(uids), np.int64)
    for row, key in enumerate(zip(captions, uids, strict=True)):
        if key not in place:
            place[key] = len(first)
            first.append(row)
        inverse[row] = place[key]
    scores = np.empty(len(first), np.float32)
    for start in range(0, len(first), _CHUNK):
        rows = first[start : start + _CHUNK]
        images = cast(list[bytes], encoded.take(np.array(rows)).to_pylist())
        scores[start : start + len(rows)] = scorer.score([captions[row] for row in rows], images)
        if on_progress is not None:
            on_progress(len(rows))
    if not np.isfinite(scores).all():
        row = first[int(np.flatnonzero(~np.isfinite(scores))[0])]
        raise InputError(
            f"the scorer {scorer.name!r} gave no number for {captions[row]!r}, image {uids[row]}"
        )
    signed = scores if scorer.higher_is_better else -scores
    n = examples.num_rows
    return ExampleScores(signed[inverse[:n]], signed[inverse[n:]])


def different_pairs(examples: pa.Table) -> int:
    """Return how many different (prompt, image) pairs a table has: the length of `score_examples`' progress."""
    captions = _strings(examples, "caption")
    sides = (_strings(examples, "image_0_uid"), _strings(examples, "image_1_uid"))
    return len({pair for uids in sides for pair in zip(captions, uids, strict=True)})


def _strings(examples: pa.Table, column: str) -> list[str]:
    return cast(list[str], examples[column].to_pylist())
