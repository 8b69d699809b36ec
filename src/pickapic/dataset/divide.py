"""Write a dataset divided by the paper's rule, row by row: it never has to fit in memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from pickapic.dataset.journal import Plan
from pickapic.dataset.manifest import MANIFEST, About, LeftOut, Manifest, load
from pickapic.dataset.read import REPEATED, batches, column_names, fingerprint_of, locate, read
from pickapic.dataset.schema import IMAGE_COLUMNS, SCHEMA, SPLITS
from pickapic.dataset.split import SPLIT_COLUMNS, Assignment, assign
from pickapic.dataset.write import SHARD_BYTES, DatasetWriter
from pickapic.records import InputError

USER_IN_TWO = "its user belongs to another split (user-disjoint)"


def divide(
    source: str | Path,
    out: str | Path,
    n_prompts: int = 1000,
    seed: int = 0,
    user_disjoint: bool = False,
    *,
    images: bool = True,
    shard_bytes: int = SHARD_BYTES,
    overwrite: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> Manifest:
    """Divide the dataset `source` as `paper_split` does, into the folder `out`.

    Rows and columns are those of `source`; a source that is divided already is put together first. A run that was
    stopped is taken up by the next with the same source and choices.

    Args:
        source: as `pickapic.dataset.read.read` takes it.
        out: folder to write.
        n_prompts: held out, validation and test together.
        seed: of the random choices.
        user_disjoint: no user in two splits.
        images: False to leave them out, and unread.
        shard_bytes: a new file is begun when one has so many bytes.
        overwrite: replace a dataset at `out`.
        on_progress: is told how many more rows are done.

    Raises:
        InputError: as `read`, `paper_split` and `write`; or `out` is `source`.
    """
    if Path(source).absolute() == Path(out).absolute():
        raise InputError(f"{out} cannot be divided into itself; choose another folder for the splits")
    names = [name for name in column_names(source) if images or name not in IMAGE_COLUMNS]
    columns = [name for name in SCHEMA.names if name in names]
    found = locate(source)
    parts = [name for name in found.files if name not in REPEATED] or list(found.files)
    plan = Plan.of(
        "split",
        source=fingerprint_of(found, parts),
        prompts=n_prompts,
        seed=seed,
        user_disjoint=user_disjoint,
    )
    writer = DatasetWriter(
        out,
        _about(source, n_prompts, seed, user_disjoint),
        images=any(name in names for name in IMAGE_COLUMNS),
        shard_bytes=shard_bytes,
        overwrite=overwrite,
        plan=plan,
        splits=SPLITS,
    )
    with writer:
        order = [*SPLIT_COLUMNS, *(["ranking_id"] if "ranking_id" in names else [])]
        assignment = assign(read(source, order), n_prompts, seed, user_disjoint)
        _write(source, columns, assignment, writer, on_progress or (lambda rows: None))
        dropped = int(np.count_nonzero(assignment.dropped))
        left_out = (*_earlier(source).left_out, *([LeftOut(USER_IN_TWO, dropped)] if dropped else []))
        return writer.finish(left_out)


def _write(
    source: str | Path,
    columns: list[str],
    assignment: Assignment,
    writer: DatasetWriter,
    on_progress: Callable[[int], None],
) -> None:
    """Give each split its rows, from the first row on that some split still lacks."""
    n_rows = len(assignment.dropped)
    start = n_rows
    for split in SPLITS:
        places = np.flatnonzero(assignment.masks[split])
        kept = len(places) if writer.is_finished else writer.kept(split)
        start = min(start, int(places[kept]) if kept < len(places) else n_rows)
    first = {split: int(np.count_nonzero(assignment.masks[split][:start])) for split in SPLITS}
    on_progress(start)
    if start == n_rows:
        return
    for batch in batches(source, columns, start=start):
        rows = pa.Table.from_batches([batch])
        for split in SPLITS:
            mask = assignment.masks[split][start : start + rows.num_rows]
            chosen = rows.filter(pa.array(mask))
            writer.add(split, chosen, first[split])
            first[split] += chosen.num_rows
        start += rows.num_rows
        on_progress(rows.num_rows)


def _earlier(source: str | Path) -> Manifest:
    return load(Path(source)) if (Path(source) / MANIFEST).is_file() else Manifest(())


def _about(source: str | Path, n_prompts: int, seed: int, user_disjoint: bool) -> About:
    earlier = _earlier(source)
    note = (
        f"Divided by the paper's rule: {n_prompts:,} held-out prompts, seed {seed}"
        f"{', no user in two splits' if user_disjoint else ''}; from {earlier.rows() or 'all'} rows"
        f"{f' with the fingerprint {earlier.fingerprint}' if earlier.shards else ''}."
    )
    about = earlier.about
    return About(about.title, about.summary, about.licence, (*about.notes, note))
