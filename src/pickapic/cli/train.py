"""`pickapic train`: tune a PickScore on a dataset."""

from __future__ import annotations

from typing import Annotated

import typer

from pickapic.cli import output


def train(
    config: Annotated[str, typer.Argument(help="A TOML file, or a packaged one: miniature, pickscore_h14.")],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one value; may be repeated."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Tune a CLIP model on people's picks, as PickScore was.

    Writes a folder that transformers opens (best/), the last weights (last/), the curve (metrics.jsonl) and what
    was run (run.json).

    Example: `pickapic train miniature --set data=pickapic-demo/dataset --set out=my-pickscore`
    """
    from pickapic.cli.models import quiet_transformers
    from pickapic.evaluate.results import TrainingPoint
    from pickapic.train.config import load_config
    from pickapic.train.loop import train as run

    chosen = load_config(config, set_ or ())
    quiet_transformers()
    with output.progress("training", chosen.steps) as advance:

        def on_step(point: TrainingPoint) -> None:
            advance(1)
            if point.validation_loss is not None:
                accuracy = point.validation_accuracy or float("nan")
                output.say(
                    f"step {point.step}: validation loss {point.validation_loss:.4f}, accuracy {accuracy:.3f}"
                )

        result = run(chosen, on_step)
    if json:
        output.show_json(result)
        return
    output.show(
        f"best step {result.best_step} of {len(result.points)} in {result.seconds:.0f} s: {result.folder}"
    )
