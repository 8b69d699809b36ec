"""`pickapic dataset export-dpo`: picks for trainers of Diffusion-DPO."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer

from pickapic.cli import output
from pickapic.cli.files import ShardSize


def export_dpo(
    path: Annotated[
        str, typer.Argument(metavar="DATASET", help="A folder, a Parquet file, or a hub id (owner/name).")
    ],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    split: Annotated[str, typer.Option(help="Which split's picks.")] = "train",
    layout: Annotated[
        str,
        typer.Option(
            help="released: jpg_0, jpg_1, label_0, caption, as trainers written for Pick-a-Pic read; "
            "chosen: prompt, chosen, rejected."
        ),
    ] = "released",
    shard_size: ShardSize = cast(int, "500MB"),
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write a split's picks as trainers of Diffusion-DPO read them; ties are left out and counted.

    Example: `pickapic dataset export-dpo pickapic-demo/dataset --out dpo --split train`
    """
    from pickapic.dataset.dpo import Layout
    from pickapic.dataset.dpo import export_dpo as export
    from pickapic.dataset.read import row_counts

    with output.progress("writing picks", row_counts(path, split)[split], unit="rows") as advance:
        done = export(path, out, split, cast(Layout, layout), file_bytes=shard_size, on_progress=advance)
    if json:
        output.show_json(done)
        return
    output.show(f"{done.rows:,} picks in {done.folder}")
    output.show(
        f"left out: {done.ties:,} ties, {done.unlabelled:,} rows without a judgement, "
        f"{done.without_image:,} without an image"
    )
