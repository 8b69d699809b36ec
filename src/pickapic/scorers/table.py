"""A table of scores as a Parquet file, made part by part: a run that was killed goes on where it stopped.

Beside `OUT` the folder `OUT.parts` holds a file for every few hundred images, and a manifest of what is being
scored. A part is whole or not there; the last step puts the parts together and renames the result to `OUT`.
Which images are scored in one call depends on their place alone, so that a table made in one run and one made in
ten are the same, byte for byte.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from pickapic.records import InputError
from pickapic.scorers.rows import Key, score_parts, scores_by_key
from pickapic.scorers.score_columns import ERROR, Scale, ScoreColumns
from pickapic.scorers.scorer import Scorer
from pickapic.scorers.sources import Source

OnError = Literal["fail", "skip"]
Engine = Callable[[int, Mapping[Key, float]], Generator[pa.Table, None, None]]
"""Yields part after part, as `ScoreColumns.raw` makes them, from the given number on; the mapping holds the scores
of the part before it."""

IMAGES_A_PART = 256
MANIFEST = "manifest.json"
IDENTITY = b"pickapic.identity"
_ROWS_A_GROUP = 65_536


@dataclass(frozen=True, slots=True)
class Identity:
    """What is scored by what. Scores of one run are used by another only where all of it is the same."""

    dataset: str
    rows: int
    columns: tuple[str, ...]
    scorer: str
    model: str
    precision: str
    images_a_part: int
    version: str


@dataclass(frozen=True, slots=True)
class Summary:
    """How many rows a table has, how many of them have an error, and how many an earlier run had scored."""

    rows: int
    failed: int
    kept: int


def identify(
    source: Source,
    scorer: Scorer,
    model: str | None = None,
    precision: str = "auto",
    images_a_part: int = IMAGES_A_PART,
) -> Identity:
    """Return the identity of a table of `source` by `scorer`; a folder of weights counts with its files' times."""
    return Identity(
        dataset=source.fingerprint,
        rows=source.count,
        columns=tuple(source.schema.names),
        scorer=scorer.name,
        model=_weights(model),
        precision=precision,
        images_a_part=images_a_part,
        version=version("pickapic"),
    )


def _weights(model: str | None) -> str:
    if model is None or not Path(model).is_dir():
        return model or "default"
    files = [
        (path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(Path(model).iterdir())
    ]
    return f"{model} ({hashlib.sha256(repr(files).encode()).hexdigest()[:16]})"


class ScoreTable:
    """The table at `out` and the parts that it is made of: `begin`, `fill`, `finish`, in this order."""

    def __init__(
        self, out: Path, source: Source, scorer: Scorer, identity: Identity, scale: Scale = "logit"
    ) -> None:
        self.out = out
        self.parts = out.with_name(f"{out.name}.parts")
        self._source = source
        self._scorer = scorer
        self._identity = identity
        self._columns = ScoreColumns(source, scorer, scale)
        self._part_rows = max(1, identity.images_a_part // source.sides)
        self._kept = 0
        self._is_finished = False

    def begin(self, fresh: bool = False) -> int:
        """Look at what an earlier run left, make the folder of parts, and return how many rows are scored already.

        Args:
            fresh: forget the scores of an earlier run. A finished table stays until the new one takes its place.

        Raises:
            InputError: there are no prompts, or what lies at `out` or beside it belongs to something else; nothing
                was changed.
        """
        if self._source.unprompted is not None and self._scorer.needs_prompt:
            raise InputError(self._source.unprompted)
        self._is_finished = self._look_at_out(fresh)
        self._look_at_parts(fresh)
        if fresh or self._is_finished:
            _remove(self.parts)
        if self._is_finished:
            self._kept = self._source.count
            return self._kept
        self.parts.mkdir(parents=True, exist_ok=True)
        for partial in self.parts.glob(".*"):
            partial.unlink()
        content = json.dumps(_plain(self._identity), indent=1) + "\n"
        _put(self.parts / MANIFEST, lambda path: path.write_text(content, encoding="utf-8"), self.parts)
        self._kept = min(self._source.count, self._whole_parts() * self._part_rows)
        return self._kept

    def fill(
        self,
        on_error: OnError = "fail",
        on_progress: Callable[[int], None] | None = None,
        engine: Engine | None = None,
    ) -> None:
        """Score the rows that no part holds yet; `on_progress` is told how many more images are done.

        Args:
            on_error: what becomes of a row that cannot be scored.
            on_progress: told of each part.
            engine: where the parts are scored; default: in this process.

        Raises:
            InputError: a row cannot be scored (not with `on_error` "skip"); the message names it. What was scored
                before is kept.
        """
        if self._is_finished:
            return
        number = self._whole_parts()
        parts = (engine or self._score_here)(number, self._known_after(number))
        try:
            with closing(parts):
                for part in parts:
                    error = next((text for text in part[ERROR].to_pylist() if text is not None), None)
                    if error is not None and on_error == "fail":
                        raise InputError(error)
                    _put(self._part(number), lambda path, part=part: pq.write_table(part, path), self.parts)
                    number += 1
                    if on_progress is not None:
                        on_progress(part.num_rows * self._source.sides)
        except InputError as error:
            kept = min(self._source.count, number * self._part_rows)
            raise InputError(
                f"{error}. The scores of {kept:,} rows are kept in {self.parts}: run the same command with "
                "--on-error skip to go on without what cannot be scored"
            ) from error

    @property
    def part_rows(self) -> int:
        """Rows that are scored in one call."""
        return self._part_rows

    @property
    def columns(self) -> ScoreColumns:
        """What the table's columns are made by."""
        return self._columns

    def _score_here(self, number: int, known: Mapping[Key, float]) -> Generator[pa.Table, None, None]:
        for rows, scores in score_parts(
            self._scorer, self._source.rows(number * self._part_rows), self._part_rows, known
        ):
            yield self._columns.raw(rows, scores)

    def finish(self) -> Summary:
        """Put the parts together as `out`, remove them, and return what became of the rows."""
        if not self._is_finished:
            _put(self.out, self._put_together, self.parts)
            self._is_finished = True
            _remove(self.parts)
        return Summary(self._source.count, _errors_in(self.out), self._kept)

    def _put_together(self, path: Path) -> None:
        parts = [self._part(number) for number in range(self._whole_parts())]
        schema = self._columns.schema(with_errors=any(_errors_in(part) for part in parts))
        with pq.ParquetWriter(path, schema.with_metadata(self._metadata())) as writer:
            waiting: list[pa.Table] = []
            for part in parts:
                waiting.append(self._columns.finished(pq.read_table(part)).select(schema.names))
                if sum(table.num_rows for table in waiting) >= _ROWS_A_GROUP or part == parts[-1]:
                    writer.write_table(pa.concat_tables(waiting).combine_chunks())
                    waiting = []

    def _metadata(self) -> dict[bytes, bytes]:
        """What the table's schema says: for readers, and for the next run of the same command."""
        identity = self._identity
        facts = self._columns.metadata(self._source.name, identity.model, identity.precision)
        return {**facts, IDENTITY: json.dumps(self._marks()).encode()}

    def _marks(self) -> dict[str, Any]:
        return {**_plain(self._identity), "scale": self._columns.scale}

    def _look_at_out(self, fresh: bool) -> bool:
        """Return whether `out` is the finished table of this very identity."""
        if not self.out.exists():
            if not self.out.parent.is_dir():
                raise InputError(f"there is no folder {self.out.parent} to write {self.out.name} into")
            return False
        try:
            metadata = pq.read_schema(self.out).metadata or {} if self.out.is_file() else {}
        except (pa.ArrowInvalid, OSError):
            metadata = {}
        if IDENTITY not in metadata:
            raise InputError(f"{self.out} is there already and is no table of scores: choose another --out")
        if fresh:
            return False
        self._compare(json.loads(metadata[IDENTITY]), self._marks(), self.out)
        return True

    def _look_at_parts(self, fresh: bool) -> None:
        manifest = self.parts / MANIFEST
        if not self.parts.exists() or not any(path for path in self.parts.iterdir() if path.name[0] != "."):
            return
        if not manifest.is_file():
            raise InputError(f"{self.parts} is in the way, and is no folder of ours: choose another --out")
        if not fresh and not self._is_finished:
            there = json.loads(manifest.read_text(encoding="utf-8"))
            self._compare(there, _plain(self._identity), self.parts)

    def _compare(self, there: Mapping[str, Any], here: Mapping[str, Any], where: Path) -> None:
        differing = [name for name in here if there.get(name) != here[name]]
        if not differing:
            return
        changes = "; ".join(
            "the dataset has changed"
            if name == "dataset"
            else f"{name}: {there.get(name)} there, {here[name]} now"
            for name in differing
        )
        raise InputError(
            f"{where} holds the scores of something else ({changes}): give --fresh to replace them, or another --out"
        )

    def _part(self, number: int) -> Path:
        # No .parquet at the end: a dataset's folder may lie around this one, and must not gain files by it.
        return self.parts / f"{number:06d}.part"

    def _whole_parts(self) -> int:
        return next(number for number in itertools.count() if not self._part(number).is_file())

    def _known_after(self, number: int) -> dict[Key, float]:
        """Return the scores of the part before `number`, as a run that was never stopped would have them in memory."""
        if number == 0 or self._source.sides == 1:
            return {}
        rows = itertools.islice(self._source.rows((number - 1) * self._part_rows), self._part_rows)
        return scores_by_key(list(rows), self._columns.scores(pq.read_table(self._part(number - 1))))


def _plain(identity: Identity) -> dict[str, Any]:
    return json.loads(json.dumps(asdict(identity)))


def _remove(parts: Path) -> None:
    """Remove a folder of parts, its manifest last: until then it is known as ours."""
    if parts.exists():
        for path in sorted(parts.iterdir(), key=lambda path: path.name == MANIFEST):
            path.unlink()
        parts.rmdir()


def _errors_in(path: Path) -> int:
    if ERROR not in pq.read_schema(path).names:
        return 0
    column = pq.read_table(path, columns=[ERROR])[ERROR]
    return len(column) - column.null_count


def _put(final: Path, write: Callable[[Path], object], aside: Path) -> None:
    """Write a file into the folder `aside`, and give it its name when it is whole and on the disk."""
    partial = aside / f".{final.name}.partial"
    write(partial)
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(partial, final)
