"""`pickapic generators`: which models make images here, and whether each one does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

generators = typer.Typer(help="The models that images come from.", no_args_is_help=True)

PROMPT = "a watercolour fox asleep in a teacup"


@generators.command()
def check(
    names: Annotated[
        list[str] | None, typer.Argument(help="Only these; default: all of the settings.")
    ] = None,
    prompt: Annotated[str, typer.Option(help="What the images show.")] = PROMPT,
    out: Annotated[
        Path | None, typer.Option(help="Folder to keep the images in; default: they are not kept.")
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Make one image with each generator of the settings, and say what came of it.

    Exits with 1 if any of them failed.

    Example: `pickapic generators check --out checked`
    """
    from dataclasses import asdict

    from pickapic.cli import output
    from pickapic.generate.check import check_generators
    from pickapic.records import InputError
    from pickapic.settings import load_settings

    choices = load_settings().generators
    known = [choice.name for choice in choices]
    for name in names or ():
        if name not in known:
            raise InputError(f"the settings have no generator called {name!r}; they have {', '.join(known)}")
    chosen = [choice for choice in choices if not names or choice.name in names]
    with output.progress("generators", len(chosen)) as advance:
        checked = check_generators(chosen, prompt, out, advance)
    if json_output:
        output.show_json([asdict(one) for one in checked])
    else:
        output.show_table(
            ("generator", "image", "seconds", "honours", "trouble"),
            [
                (one.name, one.size, f"{one.seconds:.2f}", ", ".join(one.honours), one.trouble)
                for one in checked
            ],
        )
    if any(one.trouble for one in checked):
        raise typer.Exit(1)
