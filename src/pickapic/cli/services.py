"""Options that both services on a Ray cluster have, and how their replicas are chosen."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from pickapic.records import InputError

if TYPE_CHECKING:
    from pickapic.settings.services import ServiceScale

REPLICAS = "Replicas"
WHERE = "Where it is served"

Replicas = Annotated[
    str | None,
    typer.Option(
        help="Copies of each model: 2, or 1-8 to follow the load.",
        metavar="N|MIN-MAX",
        rich_help_panel=REPLICAS,
    ),
]
Gpus = Annotated[
    float | None,
    typer.Option(
        min=0, help="GPUs for each replica, 0.5 for two on one; 1 if there are any.", rich_help_panel=REPLICAS
    ),
]
Cpus = Annotated[
    float | None, typer.Option(min=0, help="Processor cores for each replica.", rich_help_panel=REPLICAS)
]
Batch = Annotated[
    int | None,
    typer.Option(min=1, help="Images that go through the model at once.", rich_help_panel=REPLICAS),
]
Host = Annotated[str, typer.Option(help="Address to listen on.", rich_help_panel=WHERE)]
Port = Annotated[int, typer.Option(help="Port to listen on.", rich_help_panel=WHERE)]
RoutePrefix = Annotated[
    str, typer.Option(help="Path under which it answers, for several on a cluster.", rich_help_panel=WHERE)
]
RayAddress = Annotated[
    str | None,
    typer.Option(help="The cluster: auto, host:port; one is started on this machine.", rich_help_panel=WHERE),
]


def scaled(
    scale: ServiceScale, replicas: str | None, gpus: float | None, cpus: float | None, batch: int | None
) -> ServiceScale:
    """Return `scale` with what the command line says in place of it.

    Raises:
        InputError: `replicas` is neither a number nor two of them.
    """
    if replicas is not None:
        low, dash, high = replicas.partition("-")
        try:
            ends = (int(low), int(high) if dash else int(low))
        except ValueError:
            ends = (-1, -1)
        if not 0 <= ends[0] <= ends[1] or ends[1] < 1:
            raise InputError(f"--replicas takes a number such as 2, or two such as 1-8; not {replicas!r}")
        scale = replace(scale, min_replicas=ends[0], max_replicas=ends[1])
    given = {"gpus": gpus, "cpus": cpus, "batch": batch}
    return replace(scale, **{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
