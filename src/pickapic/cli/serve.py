"""`pickapic serve`: the web app, with one worker inside."""

from __future__ import annotations

from typing import Annotated

import typer


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
    worker: Annotated[bool, typer.Option(help="Make the images in this process too.")] = True,
    processes: Annotated[
        int, typer.Option(min=1, max=64, help="Server processes, for a machine with several cores.")
    ] = 1,
) -> None:
    """Serve the page and the API, and make the images.

    Needs no setting: the database, the images and a secret are made in ./pickapic-data on the first start.

    Example: `pickapic serve --port 8080`
    """
    from pickapic.settings import load_settings
    from pickapic.web.server import run

    settings = load_settings(host=host, port=port)
    if worker:
        from pickapic.cli.worker import beside

        run(settings, [beside(settings)], processes)
    else:
        run(settings, [], processes)
