"""Services on the tests' cluster: started at a free port, asked side by side, their replicas killed."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import ray
from ray.serve import Application

from pickapic.cluster.serving import Place, deploy, withdraw


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextmanager
def served(build: Callable[[], Application], name: str, place: Place) -> Iterator[str]:
    """Yield the address of an application."""
    deploy(build, name, place)
    try:
        yield f"http://{place.host}:{place.port}{place.route_prefix.rstrip('/')}"
    finally:
        withdraw(name, place)


def replicas(deployment: str, application: str = "score") -> list[str]:
    """Return the names of the actors that are replicas of a deployment now."""
    controller = ray.get_actor("SERVE_CONTROLLER_ACTOR", namespace="serve")
    running = ray.get(controller._all_running_replicas.remote())
    return [
        info.actor_name
        for key, infos in running.items()
        if (key.name, key.app_name) == (deployment, application)
        for info in infos
    ]


def kill(deployment: str, application: str = "score") -> None:
    """Kill one replica as a machine that loses power would."""
    ray.kill(ray.get_actor(replicas(deployment, application)[0], namespace="serve"), no_restart=True)


async def post_all(
    url: str, bodies: list[dict], after: Callable[[], None] | None = None
) -> list[httpx.Response]:
    """Send all bodies at once; `after` is called when all are on their way."""
    limits = httpx.Limits(max_connections=len(bodies))
    async with httpx.AsyncClient(timeout=60, limits=limits) as client:
        sent = [asyncio.create_task(client.post(url, json=body)) for body in bodies]
        if after is not None:
            await asyncio.sleep(0.5)
            await asyncio.to_thread(after)
        return await asyncio.gather(*sent)


def metric(name: str) -> dict[str, float]:
    """Return the samples of a metric, added up over the nodes, by their labels less those that Ray adds."""
    found: dict[str, float] = {}
    for node in ray.nodes():
        if not node["Alive"]:
            continue
        text = httpx.get(f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics").text
        for line in text.splitlines():
            match = re.fullmatch(rf"ray_{name}(_\w+)?(\{{.*\}})? (\S+)", line)
            if match:
                kept = re.findall(r'(le|generator)="([^"]*)"', match[2] or "")
                label = f"{match[1] or ''}{dict(kept)}"
                found[label] = found.get(label, 0.0) + float(match[3])
    return found
