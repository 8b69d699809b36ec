"""Copy a dataset into a folder of ours: from the hub, a bucket or other files, whole or in part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa

from pickapic.dataset.journal import Plan
from pickapic.dataset.manifest import MANIFEST, About, Manifest, load
from pickapic.dataset.read import batches, column_names, fingerprint_of, locate, row_counts
from pickapic.dataset.schema import IMAGE_COLUMNS, SCHEMA, SCHEMA_NO_IMAGES
from pickapic.dataset.write import SHARD_BYTES, DatasetWriter
from pickapic.records import InputError


def copy(
    source: str | Path,
    out: str | Path,
    splits: Sequence[str] = (),
    *,
    images: bool = True,
    shard_bytes: int = SHARD_BYTES,
    overwrite: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> Manifest:
    """Write the rows of `source` as the dataset folder `out`, in files of one size, with manifest and card.

    Only the files of the splits asked for are opened. A run that was stopped is taken up by the next with the same
    source and choices: it loses the file that was being written.

    Args:
        source: as `pickapic.dataset.read.read` takes it.
        out: folder to write.
        splits: which ones, in this order; none: all.
        images: False to leave them out, and unread.
        shard_bytes: a new file is begun when one has so many bytes.
        overwrite: replace a dataset at `out`.
        on_progress: is told how many more rows are done.

    Raises:
        InputError: no such dataset or split, a column is missing, or `out` is `source` or something else.
    """
    if Path(source).absolute() == Path(out).absolute():
        raise InputError(f"{out} cannot be copied into itself; choose another folder")
    found = locate(source)
    names = list(dict.fromkeys(splits)) or list(found.files)
    present = column_names(source, names[0])
    with_images = images and any(name in present for name in IMAGE_COLUMNS)
    columns = (SCHEMA if with_images else SCHEMA_NO_IMAGES).names
    plan = Plan.of("copy", source=fingerprint_of(found, names))
    advance = on_progress or (lambda rows: None)
    with DatasetWriter(
        out,
        _about(source),
        images=with_images,
        shard_bytes=shard_bytes,
        overwrite=overwrite,
        plan=plan,
        splits=names,
    ) as writer:
        for split in names:
            rows = row_counts(source, split)[split]
            first = rows if writer.is_finished else writer.kept(split)
            advance(first)
            if first == rows:
                continue
            for batch in batches(source, columns, split, start=first):
                writer.add(split, pa.Table.from_batches([batch]), first)
                first += batch.num_rows
                advance(batch.num_rows)
        whole = not splits and (Path(source) / MANIFEST).is_file()
        return writer.finish(load(Path(source)).left_out if whole else ())


def _about(source: str | Path) -> About:
    folder = Path(source)
    if (folder / MANIFEST).is_file():
        earlier = load(folder)
        note = f"Copied from the rows with the fingerprint {earlier.fingerprint}."
        return About(
            earlier.about.title, earlier.about.summary, earlier.about.licence, (*earlier.about.notes, note)
        )
    name = folder.name if folder.exists() else str(source)
    return About(notes=(f"Copied from {name}.",))
