"""`pickapic dataset convert`: other people's annotation files as a dataset of ours."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, cast

import typer

from pickapic.cli import output
from pickapic.cli.files import ShardSize, writing


class Kind(StrEnum):
    """What can be converted."""

    HPDV2 = "hpdv2"
    HPDV3 = "hpdv3"
    IMAGEREWARDDB = "imagerewarddb"


class Trouble(StrEnum):
    """What `--on-error` takes."""

    FAIL = "fail"
    SKIP = "skip"


def convert(
    kind: Annotated[Kind, typer.Argument(metavar="KIND", help="hpdv2, hpdv3 or imagerewarddb.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Annotations: JSON, Parquet or CSV.")],
    out: Annotated[Path, typer.Option(help="Folder for the dataset.")],
    images: Annotated[
        Path | None, typer.Option(help="Folder that the image paths start from; without it: no images.")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Name of the split; by the file's name if not given.")
    ] = None,
    annotators: Annotated[
        bool,
        typer.Option("--annotators", help="HPDv2's test.json: every annotator's ranking, not the average."),
    ] = False,
    ignore: Annotated[
        list[str] | None, typer.Option(help="A key of the file to leave aside (may be given again).")
    ] = None,
    on_error: Annotated[
        Trouble, typer.Option(help="At an image that is missing or broken: stop, or leave its pairs out.")
    ] = Trouble.FAIL,
    shard_size: ShardSize = cast(int, "500MB"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a dataset at OUT.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Convert the annotations of HPDv2, HPDv3 or ImageRewardDB to a dataset with the columns of Pick-a-Pic.

    Rankings become their pairs, with ties where ranks are equal. A run that was stopped goes on when it is started
    again.

    Example: `pickapic dataset convert imagerewarddb metadata-test.parquet --images ImageRewardDB --out imagereward`
    """
    from pickapic.dataset.convert import convert as write
    from pickapic.dataset.convert import source, survey
    from pickapic.dataset.foreign import Reading

    given = source(kind.value, file, images, Reading(annotators, tuple(ignore or ())))
    with output.progress("reading rankings") as advance:
        found = survey(given, skip_bad_images=on_error is Trouble.SKIP, on_progress=advance)
    with writing(out), output.progress("writing pairs", found.pairs) as advance:
        manifest = write(
            given,
            out,
            found,
            split=split,
            shard_bytes=shard_size,
            overwrite=overwrite,
            on_progress=advance,
        )
    rows = {name: manifest.rows(name) for name in manifest.splits}
    if json:
        left_out = manifest.left_out
        output.show_json(
            {"folder": out, "rows": rows, "left_out": left_out, "fingerprint": manifest.fingerprint}
        )
        return
    output.show_table(("split", "rows"), rows.items())
    for item in manifest.left_out:
        output.show(f"left out: {item.count:,} ({item.reason})")
