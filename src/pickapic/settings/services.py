"""How many replicas a Ray Serve service has, and what each of them gets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, cast

from pickapic.settings.names import nearest


@dataclass(frozen=True, slots=True)
class ServiceScale:
    """Replicas of one model on a cluster.

    Their number stays the same if `min_replicas` is `max_replicas`; otherwise it follows the load, so that each has
    about `target_ongoing_requests` at a time. `gpus` is for each replica, a fraction lets several share one; None:
    one if the cluster has any. `batch` images go through the model at once; a request waits `wait_ms` milliseconds
    for others; more than `queue` waiting requests are refused.
    """

    min_replicas: int = 1
    max_replicas: int = 1
    target_ongoing_requests: float = 8.0
    gpus: float | None = None
    cpus: float = 1.0
    batch: int = 64
    wait_ms: float = 5.0
    queue: int = 256


SCORE_SERVICE = ServiceScale()
GENERATE_SERVICE = ServiceScale(target_ongoing_requests=4.0, batch=4, wait_ms=20.0, queue=64)

_ENTRIES = ("replicas", *(field.name for field in fields(ServiceScale)))
_WHOLE = {"min_replicas": 0, "max_replicas": 1, "batch": 1, "queue": 1}


def parse_scale(value: object, where: str, default: ServiceScale) -> ServiceScale:
    """Return the scale of a service from a table of entries, or such a table as JSON text.

    `replicas` sets both ends.

    Raises:
        ValueError: an unknown entry, or one that does not fit.
    """
    if isinstance(value, ServiceScale):
        return value
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError as error:
            raise ValueError(f"{where}: not JSON: {error}") from error
    if not isinstance(value, Mapping):
        raise ValueError(f"{where}: give a table with {', '.join(_ENTRIES)}")
    table = dict(cast(Mapping[str, object], value))
    for key in table:
        if key not in _ENTRIES:
            raise ValueError(f"{where}: no entry is called {key!r}{nearest(key, _ENTRIES)}")
    if "replicas" in table:
        both = table.pop("replicas")
        table = {"min_replicas": both, "max_replicas": both} | table
    entries: dict[str, Any] = {key: _checked(entry, key, f"{where}.{key}") for key, entry in table.items()}
    if "min_replicas" in entries:
        entries.setdefault("max_replicas", max(default.max_replicas, int(entries["min_replicas"])))
    scale = replace(default, **entries)
    if scale.min_replicas > scale.max_replicas:
        raise ValueError(
            f"{where}: min_replicas {scale.min_replicas} is above max_replicas {scale.max_replicas}"
        )
    return scale


def _checked(value: object, key: str, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise ValueError(f"{where}: {value!r} is no number from 0 on")
    if key in _WHOLE:
        if value != int(value) or value < _WHOLE[key]:
            raise ValueError(f"{where}: {value!r} is no whole number from {_WHOLE[key]} on")
        return int(value)
    if key == "target_ongoing_requests" and not value:
        raise ValueError(f"{where}: must be above 0")
    return float(value)
