"""`pickapic score-service`: a scorer in replicas, over HTTP."""

from __future__ import annotations

from typing import Annotated

import typer

from pickapic.cli import services


def score_service(
    scorer: Annotated[
        str | None, typer.Option(help="Scorer: see `pickapic plugins`; otherwise the setting, or pickscore.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Checkpoint: a folder or a hub id.")] = None,
    replicas: services.Replicas = None,
    gpus_per_replica: services.Gpus = None,
    cpus_per_replica: services.Cpus = None,
    batch_size: services.Batch = None,
    host: services.Host = "127.0.0.1",
    port: services.Port = 8100,
    route_prefix: services.RoutePrefix = "/",
    ray_address: services.RayAddress = None,
) -> None:
    """Score images for whoever asks: POST /score, answered by replicas of a scorer on a Ray cluster.

    Images that come at the same time go through the model together. A replica that dies is replaced, and its open
    requests are asked again. The rest is set in the table score_service of pickapic.toml. Nobody is asked who they
    are: listen on addresses that only your own programs reach.

    Example: `pickapic score-service --scorer miniature --replicas 2 --port 8100`
    """
    from pickapic.cli import output
    from pickapic.cluster.score_service import build
    from pickapic.cluster.serving import Place, run
    from pickapic.plugins import SCORERS, load
    from pickapic.settings import load_settings

    settings = load_settings(scorer=scorer, scorer_model=model)
    scale = services.scaled(settings.score_service, replicas, gpus_per_replica, cpus_per_replica, batch_size)
    settings = settings.model_copy(update={"score_service": scale})
    if settings.scorer is not None:
        load(SCORERS, settings.scorer)  # a misspelt name is told here, not by every replica
    where = Place(host, port, route_prefix, ray_address)
    address = f"http://{host}:{port}{route_prefix.rstrip('/')}/score"
    run(
        lambda: build(settings),
        "score",
        where,
        lambda: output.say(f"the score service is ready: POST {address}"),
    )
