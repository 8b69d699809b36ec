"""`pickapic admin generators`: which models are drawn, and how often, while the servers run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from pickapic.cli import collection, output
from pickapic.cli.collection import Json, Url

Name = Annotated[str, typer.Argument(help="A generator of the settings.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is kept with the decision.")]

generators = typer.Typer(
    help="Which models are drawn, and how often; servers notice within seconds.", no_args_is_help=True
)


@generators.command("list")
def list_generators(database: Url = None, json_output: Json = False) -> None:
    """List the generators of the settings with what became of their images in seven days.

    Example: `pickapic admin generators list`
    """
    from dataclasses import asdict

    from pickapic.collect.oversight import live
    from pickapic.collect.queue import breakers
    from pickapic.settings import load_settings

    figures = collection.read(database, live.generator_figures, load_settings().generators, datetime.now(UTC))
    failing = collection.read(database, breakers.read)
    if json_output:
        output.show_json([{**asdict(one), "breaker": failing.get(one.state.name)} for one in figures])
        return
    output.show_table(
        (
            "generator",
            "on",
            "weight",
            "made",
            "refused",
            "given up",
            "seconds",
            "rounds",
            "won",
            "benched until",
        ),
        [
            (
                one.state.name,
                one.state.enabled,
                one.state.weight,
                one.made,
                one.refused,
                one.failed,
                one.seconds,
                one.rounds,
                None if one.won is None else f"{one.won:.0%}",
                failing[one.state.name].benched_until if one.state.name in failing else None,
            )
            for one in figures
        ],
    )


@generators.command()
def on(name: Name, reason: Reason = "", database: Url = None, json_output: Json = False) -> None:
    """Draw a generator again.

    Example: `pickapic admin generators on miniature-dune`
    """
    _switch(database, name, True, reason, json_output)


@generators.command()
def off(name: Name, reason: Reason = "", database: Url = None, json_output: Json = False) -> None:
    """Draw a generator no more; what is queued for it goes to the others.

    Example: `pickapic admin generators off miniature-dune --reason "black images since noon"`
    """
    _switch(database, name, False, reason, json_output)


@generators.command()
def weight(
    name: Name,
    value: Annotated[
        float | None, typer.Argument(min=0, help="How often beside weight 1; none: as the settings say.")
    ] = None,
    reason: Reason = "",
    database: Url = None,
    json_output: Json = False,
) -> None:
    """Draw a generator more often or more seldom.

    Example: `pickapic admin generators weight miniature-dune 0.5`
    """
    from pickapic.collect.queue import generator_states
    from pickapic.settings import load_settings

    choices = load_settings().generators
    now = datetime.now(UTC)
    collection.write(database, generator_states.set_weight, choices, name, value, None, reason, now)
    if json_output:
        output.show_json({"generator": name, "weight": value})
    else:
        output.show(f"{name}: weight {'as in the settings' if value is None else f'{value:g}'}")


@generators.command("try")
def try_now(name: Name, database: Url = None, json_output: Json = False) -> None:
    """Let the next image try a generator that is benched since its provider failed.

    Example: `pickapic admin generators try miniature-dune`
    """
    from pickapic.collect.queue import breakers
    from pickapic.settings import load_settings

    names = [choice.name for choice in load_settings().generators]
    was_benched = collection.write(database, breakers.try_now, names, name, None, datetime.now(UTC))
    if json_output:
        output.show_json({"generator": name, "was_benched": was_benched})
    else:
        output.show(f"{name}: the next image tries it" if was_benched else f"{name} is not benched")


def _switch(url: str | None, name: str, enabled: bool, reason: str, json_output: bool) -> None:
    from random import SystemRandom

    from pickapic.collect.queue import generator_states
    from pickapic.settings import load_settings

    choices = load_settings().generators
    now, rng = datetime.now(UTC), SystemRandom()
    moved = collection.write(url, generator_states.switch, choices, name, enabled, None, reason, now, rng)
    if json_output:
        output.show_json({"generator": name, "enabled": enabled, "passed_on": moved})
    else:
        output.show(
            f"{name} is {'on' if enabled else 'off'}" + (f"; {moved} images go to others" if moved else "")
        )
