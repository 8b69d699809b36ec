"""Picks as the rows that trainers of Diffusion-DPO read: every row prefers one image, so ties are left out."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, get_args

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pickapic.dataset.manifest import MANIFEST, load
from pickapic.dataset.read import batches, column_names
from pickapic.dataset.schema import IMAGE_COLUMNS, SCHEMA, TRAIN
from pickapic.records import InputError

Layout = Literal["released", "chosen"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
NEEDED = ("caption", *IMAGE_COLUMNS, "label_0")
"""What the trainers that were written for the release read: label_0 is 1 where image 0 won, 0 where image 1 did."""

FILE_BYTES = 500_000_000
_ROWS_AT_ONCE = 64

_IMAGE = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])
_FEATURES = {
    "prompt": {"dtype": "string", "_type": "Value"},
    "chosen": {"_type": "Image"},
    "rejected": {"_type": "Image"},
}
CHOSEN_SCHEMA = pa.schema(
    [pa.field("prompt", pa.string()), pa.field("chosen", _IMAGE), pa.field("rejected", _IMAGE)],
    # `datasets` decodes what is marked so, and gives pictures instead of bytes.
    metadata={"huggingface": json.dumps({"info": {"features": _FEATURES}})},
)


@dataclass(frozen=True, slots=True)
class DpoExport:
    """What was written, and how many rows were left out: ties, rows without a judgement, rows without an image."""

    folder: Path
    layout: Layout
    split: str
    rows: int
    ties: int
    unlabelled: int
    without_image: int


def export_dpo(
    source: str | Path,
    out: str | Path,
    split: str = TRAIN,
    layout: Layout = "released",
    *,
    file_bytes: int = FILE_BYTES,
    on_progress: Callable[[int], None] | None = None,
) -> DpoExport:
    """Write a split's picks into the new folder `out`, in the memory of a few rows.

    Args:
        source: as `pickapic.dataset.read.read` takes it.
        out: it gets its name when it is complete.
        split: which one; its rows become a split of the same name.
        layout: "released": the released columns (`jpg_0`, `jpg_1`, `label_0`, `caption`, ...), which the scripts of the
            Diffusion-DPO paper and of diffusers read. "chosen": `prompt`, `chosen` and `rejected`, the last two images.
        file_bytes: a new file is begun when one has so many bytes.
        on_progress: is told how many more rows are done.

    Raises:
        InputError: no such dataset or split, a column is missing, `out` is there already, or no pick is left.
    """
    if layout not in LAYOUTS:
        raise InputError(f"layout {layout!r}: choose {' or '.join(LAYOUTS)}")
    present = column_names(source, split)
    missing = [name for name in NEEDED if name not in present]
    if missing:
        raise InputError(f"{source} has no column {', '.join(missing)}: DPO needs {', '.join(NEEDED)}")
    columns = [name for name in SCHEMA.names if name in present]
    if layout == "chosen":
        columns = [name for name in columns if name in (*NEEDED, "has_label")]
        schema = CHOSEN_SCHEMA
    else:
        schema = pa.schema([SCHEMA.field(name) for name in columns])
    ties = unlabelled = without_image = rows = 0
    with _Folder(Path(out), split, schema, file_bytes) as folder:
        for table in _rows(source, columns, split):
            found = _Judged.of(table)
            unlabelled += int(found.unlabelled.sum())
            ties += int(found.tie.sum())
            without_image += int(found.without_image.sum())
            picks = table.filter(pa.array(found.pick))
            rows += picks.num_rows
            folder.write(picks if layout == "released" else _chosen(picks))
            if on_progress is not None:
                on_progress(table.num_rows)
        if not rows:
            raise InputError(f"{source}: the split {split!r} holds no pick: nothing was written")
        done = DpoExport(Path(out), layout, split, rows, ties, unlabelled, without_image)
        folder.finish(_card(done, source))
    return done


def _rows(source: str | Path, columns: list[str], split: str) -> Iterator[pa.Table]:
    try:
        for batch in batches(source, columns, split, _ROWS_AT_ONCE):
            yield pa.Table.from_batches([batch])
    except InputError as error:
        raise InputError(f"{error}; nothing was written") from error


@dataclass(frozen=True, slots=True)
class _Judged:
    """Which rows are what, each row one thing."""

    unlabelled: np.ndarray[Any, np.dtype[np.bool_]]
    tie: np.ndarray[Any, np.dtype[np.bool_]]
    without_image: np.ndarray[Any, np.dtype[np.bool_]]
    pick: np.ndarray[Any, np.dtype[np.bool_]]

    @classmethod
    def of(cls, table: pa.Table) -> _Judged:
        label = table["label_0"].to_numpy()
        unlabelled = np.isnan(label)
        if "has_label" in table.column_names:
            unlabelled |= ~pl.Series(table["has_label"]).fill_null(False).to_numpy()
        picked = np.isin(label, (0.0, 1.0))
        tie = ~picked & ~unlabelled
        sizes = (pl.Series(table[name]).bin.size().fill_null(0).to_numpy() for name in IMAGE_COLUMNS)
        empty = np.logical_or.reduce([size == 0 for size in sizes])
        return cls(unlabelled, tie, empty & picked & ~unlabelled, picked & ~unlabelled & ~empty)


def _chosen(picks: pa.Table) -> pa.Table:
    """Turn the released columns into prompt, chosen and rejected."""
    first_won = pa.array(picks["label_0"].to_numpy() == 1.0)
    jpg_0, jpg_1 = (picks[name] for name in IMAGE_COLUMNS)
    sides = (pc.if_else(first_won, jpg_0, jpg_1), pc.if_else(first_won, jpg_1, jpg_0))
    nowhere = pa.nulls(picks.num_rows, pa.string())
    images = [
        pa.StructArray.from_arrays([side.combine_chunks(), nowhere], fields=list(_IMAGE)) for side in sides
    ]
    return pa.table([picks["caption"], *images], schema=CHOSEN_SCHEMA)


class _Folder:
    """Files of one split in a hidden folder, which gets its name in the end; left before that, nothing remains."""

    def __init__(self, out: Path, split: str, schema: pa.Schema, file_bytes: int) -> None:
        self._out = out.absolute()
        if self._out.exists() and not (self._out.is_dir() and not any(self._out.iterdir())):
            raise InputError(f"{out} is there already; choose another name, or remove it")
        self._partial = self._out.parent / f".{self._out.name}.{secrets.token_hex(4)}.partial"
        self._split, self._schema, self._file_bytes = split, schema, file_bytes
        self._files: list[Path] = []
        self._sink: pa.OSFile | None = None
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> Self:
        (self._partial / "data").mkdir(parents=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):  # a full disk fails again on closing
            self._close()
        shutil.rmtree(self._partial, ignore_errors=True)

    def write(self, rows: pa.Table) -> None:
        """Append rows as one row group."""
        if not rows.num_rows:
            return
        if self._writer is None:
            self._files.append(self._partial / "data" / f"{len(self._files):05d}.writing")
            self._sink = pa.OSFile(str(self._files[-1]), "wb")
            # Encoded images do not compress; the few other bytes do not matter.
            self._writer = pq.ParquetWriter(
                self._sink, self._schema, compression="none", use_dictionary=False, write_statistics=False
            )
        self._writer.write_table(rows.cast(self._schema))
        if self._sink is not None and self._sink.tell() >= self._file_bytes:
            self._close()

    def finish(self, card: str) -> None:
        """Close, name the files, write the card, and put the folder in its place."""
        self._close()
        for number, path in enumerate(self._files):
            path.rename(path.with_name(f"{self._split}-{number:05d}-of-{len(self._files):05d}.parquet"))
        (self._partial / "README.md").write_text(card, encoding="utf-8")
        os.rename(self._partial, self._out)

    def _close(self) -> None:
        writer, sink, self._writer, self._sink = self._writer, self._sink, None, None
        if writer is not None and sink is not None:
            writer.close()
            sink.close()


def _card(done: DpoExport, source: str | Path) -> str:
    return "\n".join([*_front_matter(done, source), "", *_body(done, source), ""])


def _front_matter(done: DpoExport, source: str | Path) -> Iterator[str]:
    folder = Path(source)
    ours = (folder / MANIFEST).is_file()
    licence = load(folder).about.licence if ours else "other"
    # A JSON string is a YAML string, so that no licence can break out of its line.
    yield from (
        "---",
        f"license: {json.dumps(licence)}",
        "task_categories:",
        "- text-to-image",
        "tags:",
        "- dpo",
    )
    yield from ("- human-preferences", "- pick-a-pic", "configs:", "- config_name: default", "  data_files:")
    yield from (f"  - split: {done.split}", f"    path: data/{done.split}-*.parquet", "---")


def _body(done: DpoExport, source: str | Path) -> Iterator[str]:
    yield from ("# Picks between generated images, for Diffusion-DPO", "")
    name = Path(source).name if Path(source).exists() else str(source)
    yield f"{done.rows:,} picks from the split `{done.split}` of `{name}`. Left out:"
    yield from ("", "| reason | rows |", "|---|---|")
    yield f"| a tie: neither image was preferred | {done.ties:,} |"
    yield f"| no judgement | {done.unlabelled:,} |"
    yield f"| an image is missing | {done.without_image:,} |"
    yield ""
    if done.layout == "released":
        yield (
            "The columns are those of the Pick-a-Pic release. Trainers that were written for it read `jpg_0` and "
            "`jpg_1` (bytes of a JPEG or PNG file), `label_0` (1: image 0 was preferred, 0: image 1) and `caption`; "
            "`num_example_per_prompt` still counts the rows of the whole dataset."
        )
    else:
        yield "`prompt` is the text, `chosen` the preferred image, `rejected` the other."
    yield from ("", "```python", "from datasets import load_dataset", "")
    yield from (f'rows = load_dataset("path/to/this/folder", split="{done.split}")', "```")
