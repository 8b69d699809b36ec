"""`pickapic generate-service`: generators in replicas, over the OpenAI images API."""

from __future__ import annotations

from typing import Annotated

import typer

from pickapic.cli import services


def generate_service(
    names: Annotated[
        list[str] | None, typer.Argument(help="Only these generators; default: all of the settings.")
    ] = None,
    replicas: services.Replicas = None,
    gpus_per_replica: services.Gpus = None,
    cpus_per_replica: services.Cpus = None,
    batch_size: services.Batch = None,
    host: services.Host = "127.0.0.1",
    port: services.Port = 8200,
    route_prefix: services.RoutePrefix = "/",
    ray_address: services.RayAddress = None,
) -> None:
    """Make images for whoever asks: POST /v1/images/generations, answered by replicas on a Ray cluster.

    It speaks the OpenAI images API, with seed, guidance_scale, num_inference_steps and negative_prompt beside it. Each
    generator of the settings has replicas of its own. The rest is set in the table generate_service of pickapic.toml.
    Nobody is asked who they are: listen on addresses that only your own programs reach.

    Example: `pickapic generate-service miniature-aurora miniature-dune --port 8200`
    """
    from pickapic.cli import output
    from pickapic.cluster.generate_service import build
    from pickapic.cluster.serving import Place, run
    from pickapic.records import InputError
    from pickapic.settings import load_settings

    settings = load_settings()
    known = [choice.name for choice in settings.generators]
    for name in names or ():
        if name not in known:
            raise InputError(f"the settings have no generator called {name!r}; they have {', '.join(known)}")
    chosen = tuple(choice for choice in settings.generators if not names or choice.name in names)
    scale = services.scaled(
        settings.generate_service, replicas, gpus_per_replica, cpus_per_replica, batch_size
    )
    settings = settings.model_copy(update={"generate_service": scale, "generators": chosen})
    where = Place(host, port, route_prefix, ray_address)
    address = f"http://{host}:{port}{route_prefix.rstrip('/')}/v1/images/generations"
    run(
        lambda: build(settings),
        "generate",
        where,
        lambda: output.say(f"the generators are ready: POST {address}"),
    )
