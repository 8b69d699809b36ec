"""`pickapic dataset copy`: a dataset, or parts of it, as a folder on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer

from pickapic.cli import output
from pickapic.cli.files import ShardSize, writing


def copy(
    path: Annotated[
        str,
        typer.Argument(
            metavar="DATASET", help="A folder, a Parquet file, s3://bucket/folder, or a hub id (owner/name)."
        ),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write.")],
    split: Annotated[
        list[str] | None, typer.Option(help="Only this split; may be repeated. Otherwise all.")
    ] = None,
    images: Annotated[bool, typer.Option(help="Copy the images too; without them they are not read.")] = True,
    shard_size: ShardSize = cast(int, "500MB"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a dataset at OUT.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Copy a dataset, or some of its splits, into a folder: files of one size, card, and a manifest with SHA-256.

    Only the files of those splits are opened. A run that was stopped goes on when it is started again.

    Example: `pickapic dataset copy yuvalkirstain/pickapic_v2 unique --split validation_unique --split test_unique`
    """
    from pickapic.dataset.copy import copy as write
    from pickapic.dataset.read import locate, row_counts

    names = list(dict.fromkeys(split or ())) or list(locate(path).files)
    total = sum(row_counts(path, name)[name] for name in names)
    with writing(out), output.progress("copying rows", total, unit="rows") as advance:
        manifest = write(
            path,
            out,
            split or (),
            images=images,
            shard_bytes=shard_size,
            overwrite=overwrite,
            on_progress=advance,
        )
    rows = {name: manifest.rows(name) for name in manifest.splits}
    size = sum(shard.bytes for shard in manifest.shards)
    if json:
        output.show_json(
            {
                "folder": out,
                "rows": rows,
                "files": len(manifest.shards),
                "bytes": size,
                "fingerprint": manifest.fingerprint,
            }
        )
        return
    output.show(f"{out}: {len(manifest.shards):,} files, {size / 1e9:.2f} GB")
    output.show_table(("split", "rows"), rows.items())
