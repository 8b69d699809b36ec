"""Joining a Ray cluster, or starting one on this machine."""

from __future__ import annotations

import logging
import os
import socket
from typing import Any

import ray
import ray.data

from pickapic.records import InputError

CONNECT_SECONDS = 10


def connect(address: str | None) -> None:
    """Join the cluster at `address`, or start one on this machine; nothing happens if one is joined already.

    Args:
        address: of a running cluster (`ray://...`, `host:port`, `auto`); None starts one.

    Raises:
        InputError: nobody answers there.
    """
    if ray.is_initialized():
        return
    # Even without a dashboard Ray starts a process that reports its use to its makers, unless told not to.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    try:
        if host and port.isdecimal():
            # Ray itself would go on trying for minutes.
            socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
        # Without an address Ray would join whatever cluster it finds on this machine.
        options: dict[str, Any] = {"include_dashboard": False} if address is None else {}
        ray.init(address or "local", log_to_driver=False, logging_level=logging.ERROR, **options)
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"no Ray cluster answers at {address}: {error}") from error
    context = ray.data.DataContext.get_current()
    # The commands have progress bars of their own, and what is finished travels at once, to be saved: Ray would
    # gather 128 MiB first.
    context.enable_progress_bars = False
    context.target_max_block_size = 1
    for name in ("ray.data", "ray.serve"):
        logging.getLogger(name).setLevel(logging.WARNING)


def room(actors: int | None, cpus: float, gpus: float, tasks: int) -> int:
    """Return how many actors of so many cores and GPUs the cluster has room for: at least one, at most `tasks`.

    `actors` is how many are wanted; None: as many as fit.
    """
    resources = ray.cluster_resources()
    fitting = resources.get("GPU", 0) / gpus if gpus else resources.get("CPU", 1) / cpus
    return max(1, min(tasks, actors or int(fitting)))
