"""Prometheus metrics of one app, in a registry of its own."""

from __future__ import annotations

import time
from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pickapic.web.processes import Exchange

BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
IMAGE_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)

API = "/api/v1"
# What each process reads from the database, and none counts.
READ_ALIKE = ("pickapic_jobs",)


class Metrics:
    """What is counted; `text()` is what `/metrics` answers: of all processes, if `exchange` names several."""

    def __init__(self, exchange: Exchange | None = None) -> None:
        self._exchange = exchange
        self._registry = CollectorRegistry()
        self.answers = Counter(
            "pickapic_answers", "Answers stored, by kind", ["answer"], registry=self._registry
        )
        self.duels = Counter("pickapic_duels", "Prompts accepted", registry=self._registry)
        self.requests = Histogram(
            "pickapic_request_seconds",
            "Time to the first byte of an answer",
            ["method", "route", "status"],
            buckets=BUCKETS,
            registry=self._registry,
        )
        self.jobs = Gauge("pickapic_jobs", "Images to be made, by state", ["state"], registry=self._registry)
        self.scorer_images = Histogram(
            "pickapic_scorer_batch_images",
            "Images scored in one call of the scorer",
            buckets=IMAGE_BUCKETS,
            registry=self._registry,
        )
        self.scorer_seconds = Histogram(
            "pickapic_scorer_call_seconds",
            "Time that one call of the scorer takes",
            buckets=BUCKETS,
            registry=self._registry,
        )
        self.scorer_wait = Histogram(
            "pickapic_scorer_wait_seconds",
            "Time that a request waits until its images are being scored",
            buckets=BUCKETS,
            registry=self._registry,
        )
        self.scorer_waiting = Gauge(
            "pickapic_scorer_waiting_images", "Images that wait to be scored", registry=self._registry
        )
        self._of_request: dict[tuple[str, str, int], Histogram] = {}

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answer."""
        key = (method, route, status)
        child = self._of_request.get(key)
        if child is None:  # finding the child by its labels costs more than counting
            child = self._of_request[key] = self.requests.labels(method, route, str(status))
        child.observe(seconds)

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        if self._exchange is None:
            return self.own_text()
        return added([self.own_text().decode(), *self._exchange.others()])

    def own_text(self) -> bytes:
        """Return the metrics of this process."""
        return generate_latest(self._registry)


def added(texts: Sequence[str]) -> bytes:
    """Return the metrics of several processes as if one had counted; the first says what they all read alike."""
    families: dict[str, Metric] = {}
    sums: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for number, text in enumerate(texts):
        for family in text_string_to_metric_families(text):
            if number and family.name in READ_ALIKE:
                continue
            families.setdefault(family.name, family)
            known = sums.setdefault(family.name, {})
            for sample in family.samples:
                if sample.name.endswith("_created"):
                    continue
                key = (sample.name, tuple(sorted(sample.labels.items())))
                known[key] = known.get(key, 0.0) + sample.value
    for name, family in families.items():
        family.samples = [Sample(of, dict(labels), value) for (of, labels), value in sums[name].items()]
    registry = CollectorRegistry()
    registry.register(_Collected(list(families.values())))
    return generate_latest(registry)


class _Collected(Collector):
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        """Return them as they are."""
        return self._families


class MetricsMiddleware:
    """Times each HTTP answer up to its first byte, by route."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()

        async def timed(message: Message) -> None:
            if message["type"] == "http.response.start":
                # A route knows its path below the router that holds it; the API's have a prefix before that.
                route = getattr(scope.get("route"), "path", "other")
                if scope["path"].startswith(API) and not route.startswith(API):
                    route = API + route
                self._metrics.observe(scope["method"], route, message["status"], time.perf_counter() - start)
            await send(message)

        await self._app(scope, receive, timed)
