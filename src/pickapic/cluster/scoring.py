"""Scoring the parts of a table on a Ray cluster: the same calls of the scorer as in one process, so the same scores.

Ray Data hands stretches of parts to actors. Within a stretch an actor goes on as one process would. At its start
it does not know the scores of the part before, which another actor may still be computing: images that stand in
both are left open there, and filled in here, where the parts come together in order.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import pickle
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import ray
import ray.data

from pickapic.cluster.nodes import connect, room
from pickapic.records import InputError
from pickapic.scorers.load import load_scorer
from pickapic.scorers.rows import Key, Row, RowScore, score_parts, score_rows, scores_by_key
from pickapic.scorers.score_columns import Scale, ScoreColumns
from pickapic.scorers.scorer import Scorer
from pickapic.scorers.sources import Source, Wanted, open_source

PARTS_A_STRETCH = 8
OPEN = math.nan  # a score that another actor knows; a scorer's own NaN becomes an error, never a score


@dataclass(frozen=True, slots=True)
class Job:
    """What every node must know to score the same rows in the same way: names, not things.

    The dataset and the checkpoint are read by each node under the same name: on a shared disk, or from the hub.
    """

    inputs: tuple[str, ...]
    wanted: Wanted
    scorer: str
    options: Mapping[str, Any]
    scale: Scale
    part_rows: int

    def source(self) -> Source:
        """Open what is to be scored."""
        return open_source(self.inputs, self.wanted)

    def load(self) -> Scorer:
        """Load the scorer."""
        return load_scorer(self.scorer, **self.options)


@dataclass(frozen=True, slots=True)
class Cluster:
    """Which cluster, and how it is divided.

    Args:
        address: of a running cluster (`ray://...`, `host:port`, `auto`); None starts one on this machine.
        actors: copies of the scorer; None: one a GPU, or one a processor core.
        cpus: cores for each actor; with GPUs 1.
        gpus: GPUs for each actor; None: 1 if the cluster has any.
    """

    address: str | None = None
    actors: int | None = None
    cpus: float = 1.0
    gpus: float | None = None


class RayEngine:
    """An `Engine` of `ScoreTable` (see `scorers.table`)."""

    def __init__(
        self, job: Job, cluster: Cluster, source: Source, columns: ScoreColumns, scorer: Scorer
    ) -> None:
        self._job = job
        self._cluster = cluster
        self._source = source
        self._columns = columns
        self._scorer = scorer
        self.received = 0
        """Bytes of finished parts that came over the cluster."""

    def __call__(self, first: int, known: Mapping[Key, float]) -> Generator[pa.Table, None, None]:
        """Yield the raw tables of the parts from `first` on, in order.

        Raises:
            InputError: the scorer refuses its images, or the cluster cannot be used.
        """
        connect(self._cluster.address)
        count = math.ceil(self._source.count / self._job.part_rows)
        gpus = self._gpus()
        actors = room(self._cluster.actors, self._cluster.cpus, gpus, count - first)
        # A few stretches for each actor, so that none waits long for the last one.
        size = min(PARTS_A_STRETCH, max(1, (count - first) // (4 * actors)))
        stretches = [
            {"first": start, "last": min(start + size, count)} for start in range(first, count, size)
        ]
        waiting: dict[int, _Part] = {}
        for part in self._parts(stretches, actors, gpus):
            waiting[part.number] = part
            while first in waiting:
                here = waiting.pop(first)
                rows, scores = self._closed(here, known)
                known = scores_by_key(rows, scores)
                yield self._columns.raw(rows, scores)
                first += 1

    def _gpus(self) -> float:
        if self._cluster.gpus is not None:
            return self._cluster.gpus
        return 1.0 if ray.cluster_resources().get("GPU", 0) else 0.0

    def _parts(self, stretches: Sequence[Mapping[str, int]], actors: int, gpus: float) -> Iterator[_Part]:
        if not stretches:
            return
        data = ray.data.from_items(list(stretches), override_num_blocks=len(stretches))
        scored = data.map_batches(
            _Actor,
            fn_constructor_args=(self._job,),
            batch_size=1,
            batch_format="pyarrow",
            # Ray counts cores and does not bind them: less than one each leaves room for its own small tasks.
            num_cpus=self._cluster.cpus * 0.9,
            num_gpus=gpus or None,
            compute=ray.data.ActorPoolStrategy(size=actors),
        )
        # Closed at once when a part is refused: left to the garbage collector, Ray complains at the end.
        coming: Any = scored.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1)
        with contextlib.closing(iter(coming)) as batches:
            for batch in batches:
                for row in _rows_of(batch):
                    if row["refused"]:
                        raise InputError(row["refused"])
                    self.received += len(row["payload"])
                    yield _Part.read(row["payload"])

    def _closed(self, part: _Part, known: Mapping[Key, float]) -> tuple[list[Row], list[RowScore]]:
        """Fill in the scores that the part before knows."""
        scores: list[RowScore] = []
        for row, scored in zip(part.rows, part.scores, strict=True):
            found = list(scored.scores)
            for side, value in enumerate(found):
                if value is not None and math.isnan(value):
                    key = (row.prompt or "", row.uids[side])
                    if key not in known:
                        return self._again(part.number, known)
                    found[side] = known[key]
            scores.append(RowScore(tuple(found), scored.error))
        return part.rows, scores

    def _again(self, number: int, known: Mapping[Key, float]) -> tuple[list[Row], list[RowScore]]:
        """Score a part here: an image of it had no score in the part before, so it is asked for again."""
        rows = list(itertools.islice(self._source.rows(number * self._job.part_rows), self._job.part_rows))
        return rows, score_rows(self._scorer, rows, known)


@dataclass(frozen=True, slots=True)
class _Part:
    """Rows without their images, and their scores, as they travel."""

    number: int
    rows: list[Row]
    scores: list[RowScore]

    def written(self) -> bytes:
        facts = [[row.prompt, row.uids, row.facts, row.names] for row in self.rows]
        values = [[score.scores, score.error] for score in self.scores]
        return pickle.dumps((self.number, facts, values))

    @staticmethod
    def read(data: bytes) -> _Part:
        number, facts, values = pickle.loads(data)
        rows = [
            Row(prompt, ("",) * len(names), names, tuple(own), uids) for prompt, uids, own, names in facts
        ]
        return _Part(number, rows, [RowScore(scores, error) for scores, error in values])


class _Actor:
    """Holds the scorer on one node and scores stretch after stretch."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._source = job.source()
        self._scorer = job.load()

    def __call__(self, batch: pa.Table) -> Iterator[pa.Table]:
        for stretch in batch.to_pylist():
            try:
                yield from self._stretch(stretch["first"], stretch["last"])
            except InputError as error:
                yield _message(b"", str(error))

    def _stretch(self, first: int, last: int) -> Iterator[pa.Table]:
        size = self._job.part_rows
        start = (first - 1) * size if first and self._source.sides == 2 else first * size
        rows = itertools.islice(self._source.rows(start), last * size - start)
        before = itertools.islice(rows, first * size - start)
        known = {(row.prompt or "", uid): OPEN for row in before for uid in row.uids}
        for offset, (run, scores) in enumerate(score_parts(self._scorer, rows, size, known)):
            yield _message(_Part(first + offset, run, scores).written(), "")


def _message(payload: bytes, refused: str) -> pa.Table:
    return pa.table({"payload": pa.array([payload], pa.binary()), "refused": [refused]})


def _rows_of(batch: Any) -> list[dict[str, Any]]:
    return batch.to_pylist()
