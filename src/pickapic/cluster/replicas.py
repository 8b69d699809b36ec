"""Replicas of a model behind Ray Serve: how many, on what, and what becomes of a call whose replica dies."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import ray
from ray import serve
from ray.exceptions import NodeDiedError, RayActorError, WorkerCrashedError
from ray.serve import Application
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError

from pickapic.settings.services import ServiceScale

TRIES = 4
PAUSE_SECONDS = 0.25
HEALTH_SECONDS = 10.0
FAILURES_IN_A_ROW = 3
"""After so many calls in a row that failed for no fault of the request a replica calls itself ill, and is replaced."""

_LOST = (RayActorError, WorkerCrashedError, NodeDiedError)
_Answer = TypeVar("_Answer")


class BusyError(Exception):
    """As many requests wait as may."""


class NobodyError(Exception):
    """No replica can answer: all are being started, or all fail."""


def deployment_options(scale: ServiceScale) -> dict[str, Any]:
    """Return the options of a deployment whose replicas hold a model."""
    gpus = scale.gpus
    if gpus is None:
        gpus = 1.0 if ray.is_initialized() and ray.cluster_resources().get("GPU", 0) else 0.0
    return {
        **_number(scale),
        "ray_actor_options": {"num_cpus": scale.cpus, "num_gpus": gpus},
        # While a batch is in the model, the next one gathers.
        "max_ongoing_requests": 2 * scale.batch,
        "max_queued_requests": scale.queue,
        "health_check_period_s": HEALTH_SECONDS,
        "health_check_timeout_s": 3 * HEALTH_SECONDS,
    }


def ingress_options(scale: ServiceScale, models: int = 1) -> dict[str, Any]:
    """Return the options of the deployment that speaks HTTP, in front of `models` models."""
    return {
        # It only reads and hands on: it takes no core away from the models.
        "ray_actor_options": {"num_cpus": 0},
        "max_ongoing_requests": 2 * models * scale.max_replicas * scale.batch + scale.queue,
        "health_check_period_s": HEALTH_SECONDS,
    }


def deployed(kind: type, name: str, options: dict[str, Any], *arguments: object) -> Application:
    """Return a deployment of `kind`, whose replicas are made with `arguments`."""
    deployment: Any = serve.deployment(name=name, **options)
    return deployment(kind).bind(*arguments)


def _number(scale: ServiceScale) -> dict[str, Any]:
    if scale.min_replicas == scale.max_replicas:
        return {"num_replicas": scale.max_replicas}
    return {
        "autoscaling_config": {
            "min_replicas": scale.min_replicas,
            "max_replicas": scale.max_replicas,
            "target_ongoing_requests": scale.target_ongoing_requests,
        }
    }


async def ask(call: Callable[[], Awaitable[_Answer]]) -> _Answer:
    """Return the answer of a replica; if it dies before it has answered, another is asked.

    So only what may be done twice is asked for in this way: a score, or an image of a given seed.

    Raises:
        BusyError: too many requests wait already.
        NobodyError: several replicas died one after the other, or the deployment fails.
    """
    for attempt in range(1, TRIES + 1):
        try:
            return await call()
        except BackPressureError as error:
            raise BusyError(str(error)) from error
        except DeploymentUnavailableError as error:
            raise NobodyError(str(error)) from error
        except _LOST as error:
            if attempt == TRIES:
                raise NobodyError(f"{TRIES} replicas died one after the other") from error
            await asyncio.sleep(PAUSE_SECONDS * attempt)
    raise AssertionError("unreachable")


class Failures:
    """Counts the calls in a row that failed, to know when a replica is beyond help (a GPU in a bad state)."""

    def __init__(self) -> None:
        self._count = 0

    def note(self, failed: bool) -> None:
        """Note how a call of the model ended."""
        self._count = self._count + 1 if failed else 0

    def raise_if_ill(self) -> None:
        """Raise `RuntimeError` after too many failures: Serve then starts another replica in its place."""
        if self._count >= FAILURES_IN_A_ROW:
            raise RuntimeError(f"the last {self._count} calls of the model failed")
