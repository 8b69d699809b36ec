"""`pickapic simulate`: simulated people at a running server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def simulate(
    url: Annotated[str, typer.Option(help="Address of the server.")] = "http://127.0.0.1:8000",
    people: Annotated[int, typer.Option(min=1, help="How many different people.")] = 2500,
    concurrency: Annotated[int, typer.Option(min=1, help="How many at a time.")] = 60,
    picks: Annotated[int, typer.Option(min=1, help="How many picks in all.")] = 12_000,
    seed: Annotated[int, typer.Option(help="Another seed is another population.")] = 0,
    speed: Annotated[float, typer.Option(min=0, help="1: as slow as people; 0: as fast as possible.")] = 0.0,
    database: Annotated[
        str | None, typer.Option(help="The server's database, to see the images by; default: the settings'.")
    ] = None,
    truth: Annotated[Path | None, typer.Option(help="Write who is who (JSON) to this file.")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Let simulated people pick at a running server, through the same API as everybody.

    They see the miniature world only: an image is judged by how it was made, which is read from the database.

    Example: `pickapic simulate --picks 500 --concurrency 20`
    """
    from dataclasses import asdict

    from pickapic import simulate as stage
    from pickapic.cli import output
    from pickapic.settings import load_settings

    with output.progress("picks", picks) as advance:
        done = stage.simulate(
            url=url,
            database_url=database or load_settings().database_url,
            people=people,
            concurrency=concurrency,
            picks=picks,
            seed=seed,
            speed=speed,
            advance=advance,
        )
    if truth is not None:
        import json

        who = {"seed": seed, "people": people, "user_of_person": dict(done.user_of_person)}
        draft = truth.with_name(f".{truth.name}.draft")
        draft.write_text(json.dumps(who), encoding="utf-8")
        draft.replace(truth)
    summary = {name: value for name, value in asdict(done).items() if name != "user_of_person"}
    if json_output:
        output.show_json(summary)
    else:
        output.show_table(("what", "value"), summary.items())
