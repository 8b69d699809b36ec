"""`pickapic score`: scores of images for a prompt, or of every example of a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pickapic.cli import output


def score(
    inputs: Annotated[
        list[str],
        typer.Argument(help="Image files (with --prompt), or one dataset.", metavar="IMG...|DATASET"),
    ],
    prompt: Annotated[str | None, typer.Option(help="What the images should show.")] = None,
    scorer: Annotated[str, typer.Option(help="Scorer: see `pickapic plugins`.")] = "pickscore",
    model: Annotated[str | None, typer.Option(help="Checkpoint: a folder or a hub id.")] = None,
    split: Annotated[str | None, typer.Option(help="Split of the dataset; all by default.")] = None,
    out: Annotated[Path, typer.Option(help="Parquet file for a dataset's scores.")] = Path("scores.parquet"),
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score images for a prompt, or both images of every example of a dataset.

    Scores are on the released scale (logit scale times cosine): compare them for one prompt and one scorer only.

    Example: `pickapic score --prompt "a red fox in the snow" --scorer miniature one.png two.png`
    """
    from pickapic.cli.models import scorer_for

    loaded = scorer_for(scorer, model)
    if prompt is None:
        if len(inputs) != 1:
            output.fail("give --prompt TEXT with images, or one dataset", output.BAD_USAGE)
        _score_dataset(inputs[0], split, loaded, out, json)
        return
    scores = loaded.score(prompt, inputs)
    if json:
        output.show_json(
            [{"image": image, "score": value} for image, value in zip(inputs, scores.tolist(), strict=True)]
        )
        return
    output.show_table(("image", "score"), zip(inputs, scores.tolist(), strict=True))


def _score_dataset(dataset: str, split: str | None, scorer: object, out: Path, json: bool) -> None:
    import os
    from typing import cast

    import pyarrow as pa
    import pyarrow.parquet as pq

    from pickapic.dataset.read import read
    from pickapic.evaluate.scores import COLUMNS, different_pairs, score_examples
    from pickapic.scorers.scorer import Scorer

    examples = read(dataset, ("ranking_id", *COLUMNS), split)
    with output.progress("scoring", different_pairs(examples)) as advance:
        scores = score_examples(cast(Scorer, scorer), examples, advance)
    table = pa.table(
        {
            "ranking_id": examples["ranking_id"].combine_chunks(),
            "image_0_uid": examples["image_0_uid"].combine_chunks(),
            "image_1_uid": examples["image_1_uid"].combine_chunks(),
            "score_0": pa.array(scores.score_0),
            "score_1": pa.array(scores.score_1),
            "prob_0": pa.array(scores.prob_0),
        }
    )
    part = out.with_name(f".{out.name}.part")
    pq.write_table(table, part)
    os.replace(part, out)
    if json:
        output.show_json({"examples": table.num_rows, "scores": str(out)})
        return
    output.show(f"{table.num_rows:,} examples scored: {out}")
