"""`pickapic score`: scores of images for a prompt, or of a whole dataset into a table."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pickapic.cli import output

if TYPE_CHECKING:
    from pickapic.scorers.scorer import Scorer
    from pickapic.scorers.sources import Source
    from pickapic.scorers.table import Engine, OnError, ScoreTable


class Scale(StrEnum):
    """What `--scale` takes."""

    LOGIT = "logit"
    COSINE = "cosine"
    PROBABILITY = "probability"


class Trouble(StrEnum):
    """What `--on-error` takes."""

    FAIL = "fail"
    SKIP = "skip"


class Precision(StrEnum):
    """What `--precision` takes."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    INT8 = "int8"


class EngineName(StrEnum):
    """What `--engine` takes."""

    LOCAL = "local"
    RAY = "ray"


TABLE = Path("scores.parquet")
PART_BATCHES = 4
"""Batches that are scored between two savings, where --batch-size is given."""

LOADING = "How the model is loaded"
READING = "How a dataset is read"
WHERE = "Where the work is done"


ScorerName = Annotated[str, typer.Option(help="Scorer: see `pickapic plugins`.")]
Model = Annotated[str | None, typer.Option(help="Checkpoint: a folder or a hub id.")]
OnTrouble = Annotated[
    Trouble, typer.Option(help="At an image that cannot be scored: stop, or go on and say so in the end.")
]
Device = Annotated[
    str | None, typer.Option(help="cpu, cuda, ...; a GPU if there is one.", rich_help_panel=LOADING)
]
Numbers = Annotated[
    Precision, typer.Option(help="Numbers that the model computes in.", rich_help_panel=LOADING)
]
BatchSize = Annotated[
    int | None, typer.Option(min=1, help="Images that go through the model at once.", rich_help_panel=LOADING)
]
Split = Annotated[
    str | None, typer.Option(help="Split of the dataset; all by default.", rich_help_panel=READING)
]
ImageColumn = Annotated[
    str | None, typer.Option(help="Column of images, where there are several.", rich_help_panel=READING)
]
PromptColumn = Annotated[
    str | None,
    typer.Option(help="Column of prompts; caption, prompt or text by default.", rich_help_panel=READING),
]
EngineOption = Annotated[
    EngineName,
    typer.Option(help="This process, or a Ray cluster (a dataset's scores only).", rich_help_panel=WHERE),
]
RayAddress = Annotated[
    str | None,
    typer.Option(help="The cluster: auto, host:port; one is started on this machine.", rich_help_panel=WHERE),
]
Actors = Annotated[
    int | None, typer.Option(min=1, help="Copies of the scorer on the cluster.", rich_help_panel=WHERE)
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def score(
    inputs: Annotated[
        list[str],
        typer.Argument(
            help="Images or folders of them (with --prompt), or a dataset: Parquet files, a folder of them, a "
            "folder of images with captions, a hub id.",
            metavar="IMG...|DATASET",
        ),
    ],
    prompt: Annotated[str | None, typer.Option(help="What all the images should show.")] = None,
    scorer: ScorerName = "pickscore",
    model: Model = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Parquet file for the scores; scores.parquet for a dataset, none for images."),
    ] = None,
    scale: Annotated[
        Scale, typer.Option(help="Scores as released, as cosines, or (preferences only) as probabilities.")
    ] = Scale.LOGIT,
    on_error: OnTrouble = Trouble.FAIL,
    fresh: Annotated[bool, typer.Option("--fresh", help="Do not go on from an earlier run.")] = False,
    split: Split = None,
    image_column: ImageColumn = None,
    prompt_column: PromptColumn = None,
    device: Device = None,
    precision: Numbers = Precision.AUTO,
    batch_size: BatchSize = None,
    engine: EngineOption = EngineName.LOCAL,
    ray_address: RayAddress = None,
    actors: Actors = None,
    json: Json = False,
) -> None:
    """Score images for a prompt, or every image of a dataset.

    A dataset's scores are written as a Parquet table. A run that was stopped goes on where it stopped when the same
    command is given again. Scores are on the released scale (logit scale times cosine): compare them for one prompt
    and one scorer only.

    Examples: `pickapic score --prompt "a red fox in the snow" --scorer miniature one.png two.png` or
    `pickapic score picks --scorer miniature --out scores.parquet --on-error skip`
    """
    from pickapic.cli.models import numbers, scorer_for
    from pickapic.scorers.image_files import ImageFiles
    from pickapic.scorers.sources import Wanted, open_source
    from pickapic.scorers.table import IMAGES_A_PART, ScoreTable, identify

    wanted = Wanted(prompt, split, image_column, prompt_column)
    source = open_source(inputs, wanted)
    printed = isinstance(source, ImageFiles) and (prompt is not None or not Path(inputs[0]).is_dir())
    if out is None and printed:
        loaded = scorer_for(scorer, model, device=device, batch_size=batch_size, **numbers(precision))
        _print_scores(source, loaded, on_error, json)
        return
    out = out or TABLE
    _keep_out_of(inputs, out)
    options = {"device": device, "batch_size": batch_size, **numbers(precision)}
    loaded = scorer_for(scorer, model, **options)
    size = IMAGES_A_PART if batch_size is None else PART_BATCHES * batch_size
    identity = identify(source, loaded, model, precision.value, size)
    table = ScoreTable(out, source, loaded, identity, scale.value)
    cluster = None
    if engine is EngineName.RAY:
        from pickapic.cluster.scoring import Cluster, Job, RayEngine

        given = {name: value for name, value in {"model": model, **options}.items() if value is not None}
        job = Job(tuple(inputs), wanted, scorer, given, scale.value, table.part_rows)
        cluster = RayEngine(job, Cluster(ray_address, actors), source, table.columns, loaded)
    _fill(table, source, on_error.value, fresh, json, cluster)


def _print_scores(source: Source, scorer: Scorer, on_error: Trouble, json: bool) -> None:
    from pickapic.cli.models import scored_images

    scored = scored_images(source, scorer, on_error.value)
    failed = any(image.error for image in scored)
    if json:
        output.show_json(
            [
                {"image": image.name, "score": image.score} | ({"error": image.error} if failed else {})
                for image in scored
            ]
        )
        return
    columns = ("image", "score", *(["error"] if failed else []))
    rows = [(image.name, image.score, image.error or "") for image in scored]
    output.show_table(columns, [row[: len(columns)] for row in rows])


def _keep_out_of(inputs: Sequence[str], out: Path) -> None:
    """Refuse a table inside what is scored: the next run would take it for a part of the dataset."""
    for name in inputs:
        given, target = Path(name).resolve(), out.resolve()
        if given == target or (given.is_dir() and target.is_relative_to(given)):
            output.fail(f"{out} lies in {name}, which is being scored: write elsewhere with --out FILE")


def _fill(
    table: ScoreTable, source: Source, on_error: OnError, fresh: bool, json: bool, engine: Engine | None
) -> None:
    kept = table.begin(fresh)
    if kept and kept == source.count:
        output.say(f"all {kept:,} rows were scored before")
    else:
        images, before = source.count * source.sides, kept * source.sides
        with output.progress("scoring", images, done=before, unit="images") as advance:
            table.fill(on_error, advance, engine)
    summary = table.finish()
    if summary.failed:
        output.say(
            f"warning: {summary.failed:,} of {summary.rows:,} rows have an error: see the column error"
        )
    if json:
        output.show_json(
            {
                "examples": summary.rows,
                "images": summary.rows * source.sides,
                "failed": summary.failed,
                "scored_before": summary.kept,
                "scores": str(table.out),
            }
        )
        return
    what = "examples" if source.sides == 2 else "images"
    output.show(f"{summary.rows:,} {what} scored: {table.out}")
