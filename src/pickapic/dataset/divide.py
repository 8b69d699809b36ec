"""Write a dataset divided by the paper's rule, row by row: it never has to fit in memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from pickapic.dataset.manifest import MANIFEST, About, LeftOut, Manifest, load
from pickapic.dataset.read import batches, column_names, read
from pickapic.dataset.schema import IMAGE_COLUMNS, SPLITS
from pickapic.dataset.split import SPLIT_COLUMNS, assign
from pickapic.dataset.write import DatasetWriter
from pickapic.records import InputError

USER_IN_TWO = "its user belongs to another split (user-disjoint)"


def divide(
    source: str | Path,
    out: str | Path,
    n_prompts: int = 1000,
    seed: int = 0,
    user_disjoint: bool = False,
    *,
    overwrite: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> Manifest:
    """Divide the dataset `source` as `paper_split` does, into the folder `out`.

    Rows, columns and images are those of `source`; a source that is divided already is put together first.
    `on_progress` is told how many more rows are done.

    Raises:
        InputError: as `read`, `paper_split` and `write`; or `out` is `source`.
    """
    if Path(source).absolute() == Path(out).absolute():
        raise InputError(f"{out} cannot be divided into itself; choose another folder for the splits")
    names = column_names(source)
    order = [*SPLIT_COLUMNS, *(["ranking_id"] if "ranking_id" in names else [])]
    assignment = assign(read(source, order), n_prompts, seed, user_disjoint)
    earlier = load(Path(source)) if (Path(source) / MANIFEST).is_file() else Manifest(())
    note = (
        f"Divided by the paper's rule: {n_prompts:,} held-out prompts, seed {seed}"
        f"{', no user in two splits' if user_disjoint else ''}; from {earlier.rows() or 'all'} rows"
        f"{f' with the fingerprint {earlier.fingerprint}' if earlier.shards else ''}."
    )
    about = About(
        earlier.about.title, earlier.about.summary, earlier.about.licence, (*earlier.about.notes, note)
    )
    images = any(name in names for name in IMAGE_COLUMNS)
    with DatasetWriter(out, about, images=images, overwrite=overwrite) as writer:
        start = 0
        for batch in batches(source):
            rows = pa.Table.from_batches([batch])
            for split in SPLITS:
                mask = assignment.masks[split][start : start + rows.num_rows]
                writer.add(split, rows.filter(pa.array(mask)))
            start += rows.num_rows
            if on_progress is not None:
                on_progress(rows.num_rows)
        dropped = int(np.count_nonzero(assignment.dropped))
        left_out = (*earlier.left_out, *([LeftOut(USER_IN_TWO, dropped)] if dropped else []))
        return writer.finish(left_out)
