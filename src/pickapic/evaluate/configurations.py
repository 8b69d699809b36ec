"""What is rated in a model evaluation: a model at a setting, its guidance scale put into bins as in the paper.

The paper has 45 configurations of 4 models, "guidance binned", and does not say how. The bins are a parameter here,
and are printed. The released columns have no guidance scale: then a configuration is a model.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pickapic.dataset.read import column_names, read
from pickapic.evaluate.held_out import HeldOut
from pickapic.plugins import nearest
from pickapic.records import InputError

BIN_EDGES = (4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0)
"""Where one bin ends and the next begins: nine bins of the scales 3 to 12 that people's images were made with."""

GUIDANCE = ("guidance_scale_0", "guidance_scale_1")
IMAGE_UID, SCALE, CONFIGURATION = "image_uid", "guidance_scale", "configuration"


@dataclass(frozen=True, slots=True, eq=False)
class Configurations:
    """The configuration of both images of each row, (n,) strings; `source` says what they were made from."""

    first: NDArray[np.str_]
    second: NDArray[np.str_]
    source: str

    @property
    def count(self) -> int:
        """The number of different configurations."""
        return len(np.union1d(self.first, self.second))


def configurations(
    rows: HeldOut, side_table: Path | None = None, edges: Sequence[float] = BIN_EDGES
) -> Configurations:
    """Return the configurations of a dataset's rows.

    From `side_table`, if one is given; else from the dataset's columns `guidance_scale_0` and `_1`, if it has them;
    else they are the models.

    Args:
        rows: judged rows, with `model_0` and `model_1`.
        side_table: a Parquet file with the columns `image_uid` and either `guidance_scale` or `configuration`.
        edges: rising guidance scales at which a bin ends and the next begins; none for one bin of all.

    Raises:
        InputError: a model, guidance scale or image is not known, the edges do not rise, or there is one configuration.
    """
    _check(edges)
    models = [_names(rows, column) for column in ("model_0", "model_1")]
    if side_table is not None:
        found = _from_side_table(rows, models, side_table, edges)
    elif all(name in column_names(rows.dataset, rows.split) for name in GUIDANCE):
        read_again = read(rows.dataset, GUIDANCE, rows.split).filter(pa.array(rows.judged))
        scales = [read_again[name].to_numpy().astype(np.float64) for name in GUIDANCE]
        parts = [binned(*pair, edges) for pair in zip(models, scales, strict=True)]
        found = Configurations(parts[0], parts[1], f"model and guidance scale, {in_words(edges)}")
    else:
        found = Configurations(models[0], models[1], "model (the dataset tells no guidance scale)")
    if found.count < 2:
        raise InputError(
            f"{rows.dataset}, split {rows.split}: there is one configuration only, '{found.first[0]}'; "
            "a model evaluation compares several"
        )
    return found


def binned(models: NDArray[np.str_], scales: NDArray[np.float64], edges: Sequence[float]) -> NDArray[np.str_]:
    """Return "model, guidance 4 to 5" for each image (n,): bins hold their lower edge.

    Raises:
        InputError: a scale is missing, or is no number.
    """
    unknown = ~np.isfinite(scales)
    if unknown.any():
        row = int(np.flatnonzero(unknown)[0])
        raise InputError(f"{int(unknown.sum()):,} images have no guidance scale, the first in row {row:,}")
    labels = np.array([f", guidance {label}" for label in bin_labels(edges)])
    return np.char.add(models, labels[np.digitize(scales, np.asarray(edges, dtype=np.float64))])


def bin_labels(edges: Sequence[float]) -> list[str]:
    """Return the names of the bins, lowest first."""
    if not edges:
        return ["any"]
    between = [f"{low:g} to {high:g}" for low, high in itertools.pairwise(edges)]
    return [f"below {edges[0]:g}", *between, f"from {edges[-1]:g}"]


def in_words(edges: Sequence[float]) -> str:
    """Return the bins in a few words, for what is printed."""
    return "bins " + ", ".join(bin_labels(edges))


def _check(edges: Sequence[float]) -> None:
    values = np.asarray(edges, dtype=np.float64)
    if not np.isfinite(values).all() or (np.diff(values) <= 0).any():
        raise InputError(f"the edges of guidance bins must rise: {', '.join(f'{edge:g}' for edge in edges)}")


def _names(rows: HeldOut, column: str) -> NDArray[np.str_]:
    if column not in rows.table.column_names:
        raise InputError(f"{rows.dataset} has no column {column!r}: nobody knows which model made an image")
    names = cast("list[str | None]", rows.table[column].to_pylist())
    missing = sum(not name for name in names)
    if missing:
        raise InputError(
            f"{missing:,} of {len(names):,} rows of {rows.split} have no {column}: unknown models"
        )
    return np.array(names, dtype=np.str_)


def _from_side_table(
    rows: HeldOut, models: Sequence[NDArray[np.str_]], path: Path, edges: Sequence[float]
) -> Configurations:
    frame = _read(path)
    direct = CONFIGURATION in frame.columns
    value = CONFIGURATION if direct else SCALE
    sides: list[NDArray[Any]] = []
    for side, names in enumerate(models):
        column = f"image_{side}_uid"
        uids = pl.DataFrame(rows.table.select([column])).rename({column: IMAGE_UID})
        joined = uids.join(frame, on=IMAGE_UID, how="left", maintain_order="left")
        absent = joined.filter(pl.col(value).is_null())
        if len(absent):
            raise InputError(
                f"{path} does not say the {value} of {len(absent):,} of {len(joined):,} images of {rows.split}: "
                f"{absent[IMAGE_UID][0]!r} is the first"
            )
        values = joined[value].to_numpy()
        sides.append(np.asarray(values, dtype=np.str_) if direct else binned(names, values, edges))
    source = f"{path.name}, column {value}" + ("" if direct else f", with the model; {in_words(edges)}")
    return Configurations(sides[0], sides[1], source)


def _read(path: Path) -> pl.DataFrame:
    try:
        frame = pl.DataFrame(pq.read_table(path))
    except FileNotFoundError as error:
        raise InputError(f"there is no table of configurations {path}") from error
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path} cannot be read as a Parquet file: {error}") from error
    if IMAGE_UID not in frame.columns:
        raise InputError(f"{path} has no column {IMAGE_UID!r}{nearest(IMAGE_UID, frame.columns)}")
    if CONFIGURATION in frame.columns:
        frame = frame.select(IMAGE_UID, pl.col(CONFIGURATION).cast(pl.String))
    elif SCALE in frame.columns:
        frame = frame.select(IMAGE_UID, pl.col(SCALE).cast(pl.Float64))
    else:
        raise InputError(f"{path} needs a column {SCALE!r} or {CONFIGURATION!r} beside {IMAGE_UID!r}")
    frame = frame.unique()
    twice = frame.filter(pl.col(IMAGE_UID).is_duplicated())
    if len(twice):
        raise InputError(f"{path} says two things of the image {twice[IMAGE_UID][0]!r}")
    return frame
