"""`pickapic dataset shards`: a dataset's images, decoded once for training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pickapic.cli import output
from pickapic.cli.score import WHERE, EngineName


def shards(
    path: Annotated[
        str,
        typer.Argument(
            metavar="DATASET", help="A folder, a Parquet file, s3://bucket/folder, or a hub id (owner/name)."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    model: Annotated[
        str, typer.Option(help="Checkpoint that will be trained: a folder, a hub id, or miniature.")
    ],
    split: Annotated[
        list[str] | None, typer.Option(help="Only this split; may be repeated. Otherwise all.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="That decode; otherwise one a processor.")
    ] = None,
    file_mb: Annotated[int, typer.Option(min=1, help="MiB of images a file.")] = 512,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace other shards at OUT.")] = False,
    engine: Annotated[
        EngineName, typer.Option(help="This process, or a Ray cluster.", rich_help_panel=WHERE)
    ] = EngineName.LOCAL,
    ray_address: Annotated[
        str | None,
        typer.Option(
            help="The cluster: auto, host:port; one is started on this machine.", rich_help_panel=WHERE
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write a dataset's images as squares of a model's size, each once, for training without decoding.

    Train on them with `--set data=OUT`; the batches are the same to the bit. A run that was killed goes on when it is
    started again, with either engine. On a cluster the nodes share the disk of OUT, and each file is written by one.

    Example: `pickapic dataset shards pickapic-demo/dataset --out shards --model miniature`
    """
    from pickapic.dataset.shard_plan import plan_shards
    from pickapic.dataset.shard_writer import ShardWriter
    from pickapic.model.preprocess import read_transform

    folder = Path(model)
    if not folder.is_dir():
        from pickapic.model.clip import find_checkpoint  # loads torch, which takes seconds

        folder = find_checkpoint(model)
    plan = plan_shards(path, read_transform(folder), split or ())
    cluster = None
    if engine is EngineName.RAY:
        from pickapic.cluster.shards import RayShards

        cluster = RayShards(ray_address)
    try:
        with (
            ShardWriter(plan, out, overwrite=overwrite, file_bytes=file_mb * 2**20) as writer,
            output.progress("writing squares", plan.pictures, done=writer.kept, unit="images") as advance,
        ):
            manifest = writer.fill(threads, advance, cluster)
    except OSError as error:
        output.fail(f"{out} cannot be written: {error}; what is finished is kept for the next start")
    if json:
        output.show_json(
            {
                "folder": out,
                "images": manifest.pictures,
                "written_before": writer.kept,
                "rows": manifest.splits,
                "bytes": sum(file.bytes for file in manifest.files),
                "fingerprint": manifest.fingerprint,
            }
        )
        return
    size = sum(file.bytes for file in manifest.files) / 1e9
    output.show(f"{out}: {manifest.pictures:,} images of {manifest.squares}, {size:.2f} GB")
    output.show_table(("split", "rows"), manifest.splits.items())
