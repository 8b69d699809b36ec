"""Running a Ray Serve application from a command, until it is told to stop."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass

import ray
from ray import serve
from ray.serve import Application
from ray.serve.schema import LoggingConfig

from pickapic.cluster.nodes import connect
from pickapic.records import InputError

_REASON = re.compile(r"^[\w.]*(?:Error|Exception): (.+)$", re.MULTILINE)
STOP_SECONDS = 30.0
"""So long open requests have to end, and Ray to stop what it started."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an application is served: on which cluster, and at which address of its nodes."""

    host: str = "127.0.0.1"
    port: int = 8000
    route_prefix: str = "/"
    ray_address: str | None = None


def deploy(build: Callable[[], Application], name: str, place: Place) -> None:
    """Start an application and return when its replicas are ready.

    `build` is called when the cluster is there. Address and port are those of the cluster's proxies: the first
    application decides them.

    Raises:
        InputError: there is no such cluster, or the replicas do not start (the first line of why is told).
    """
    connect(place.ray_address)
    serve.start(http_options={"host": place.host, "port": place.port}, proxy_location="EveryNode")
    try:
        # Serve's own access log would grow with every image; what is refused says so to whoever asked.
        logging = LoggingConfig(enable_access_log=False)
        serve.run(build(), name=name, route_prefix=place.route_prefix, logging_config=logging)
    except RuntimeError as error:
        message = _reason(name) or str(error)
        withdraw(name, place)
        raise InputError(f"the service cannot start: {message}") from error


def withdraw(name: str, place: Place) -> None:
    """Stop an application when its open requests are answered; and the cluster, if it was started for it."""
    serve.delete(name)
    if place.ray_address is None:
        serve.shutdown()
        ray.shutdown()


def run(
    build: Callable[[], Application], name: str, place: Place, on_ready: Callable[[], None] | None = None
) -> None:
    """Serve until SIGINT or SIGTERM. Raises as `deploy`."""
    deploy(build, name, place)
    stop = threading.Event()
    # Not before: Ray puts a handler of its own in place when it starts.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    if on_ready is not None:
        on_ready()
    stop.wait()
    ending = threading.Thread(target=withdraw, args=(name, place), daemon=True)
    ending.start()
    ending.join(STOP_SECONDS)
    if ending.is_alive():
        # Whoever stops a whole group of processes takes the cluster away first, and Ray would wait for it for good.
        os._exit(0)


def _reason(name: str) -> str:
    """Return the last line of why a deployment of `name` does not start, or an empty string."""
    found = serve.status().applications.get(name)
    deployments = found.deployments.values() if found is not None else ()
    messages = [deployment.message for deployment in deployments if deployment.message]
    reasons = [found for message in messages for found in _REASON.findall(message)]
    return reasons[-1] if reasons else ""
