"""`pickapic demo`: the whole loop in miniature."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pickapic.cli import output


def demo(
    dir_: Annotated[Path, typer.Option("--dir", help="Folder for everything the demo makes.")] = Path(
        "pickapic-demo"
    ),
    picks: Annotated[int, typer.Option(min=60, help="Picks that the simulated people make.")] = 16_000,
    people: Annotated[int, typer.Option(min=20, help="How many simulated people there are.")] = 2500,
    seed: Annotated[
        int, typer.Option(help="Another seed is another population, split and training order.")
    ] = 0,
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port of the page.")] = 8000,
    serve: Annotated[
        bool, typer.Option(help="Go on serving the page, and open the report in a browser.")
    ] = True,
    json: Annotated[bool, typer.Option("--json", help="Print the evaluation as JSON.")] = False,
) -> None:
    """Run the whole loop in miniature: people pick, a PickScore learns from them, and a report says how well.

    A real server, database, worker, dataset, training and evaluation at small sizes, offline, in minutes. You can pick
    along on the page while it runs. Interrupted, it goes on where it stopped.

    Example: `pickapic demo --no-serve --dir my-demo`
    """
    import json as json_
    import threading
    import time
    import webbrowser

    from pickapic.cli.models import quiet_transformers
    from pickapic.demo.loop import DemoPlan
    from pickapic.demo.loop import demo as run

    quiet_transformers()
    started = time.perf_counter()
    plan = DemoPlan(dir_, picks=picks, people=people, seed=seed, port=port)
    with run(plan, output.progress, output.say) as url:
        output.say(f"Done in {(time.perf_counter() - started) / 60:.1f} minutes.")
        found = json_.loads(plan.report.with_suffix(".json").read_text())
        if json:
            output.show_json(found)
        else:
            _show(found)
            for name, made in (
                ("report", "report.html"),
                ("dataset", "dataset"),
                ("model", "pickscore/best"),
            ):
                output.show(f"{name}: {dir_ / made}")
        if serve:
            webbrowser.open(plan.report.absolute().as_uri())
            output.say(f"Pick at {url}; Ctrl-C ends the demo.")
            try:
                threading.Event().wait()
            except KeyboardInterrupt:
                output.say("Stopped.")


def _show(found: dict[str, list[dict[str, float]]]) -> None:
    rows = [
        (
            row["scorer"],
            f"{100 * row['accuracy']:.1f} %",
            f"{100 * row['low']:.1f} – {100 * row['high']:.1f}",
            row["threshold"],
            row["n"],
        )
        for row in found["preferences"]
    ]
    output.show_table(("scorer", "accuracy", "95 % interval", "threshold", "examples"), rows)
