"""Prometheus metrics of one app, in a registry of its own."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from pickapic.collect.queue.condition import Condition
from pickapic.web.processes import Exchange

BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
IMAGE_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)

# What each process reads from the database, and none counts.
READ_ALIKE = (
    "pickapic_jobs",
    "pickapic_oldest_job_seconds",
    "pickapic_workers",
    "pickapic_generator_benched",
    "pickapic_recent_jobs",
    "pickapic_recent_job_seconds",
)


class Metrics:
    """What is counted; `text()` is what `/metrics` answers: of all processes, if `exchange` names several.

    What else runs in this process may put its own figures into `registry`.
    """

    def __init__(self, exchange: Exchange | None = None) -> None:
        self._exchange = exchange
        self.registry = CollectorRegistry()
        self.answers = Counter(
            "pickapic_answers", "Answers stored, by kind", ["answer"], registry=self.registry
        )
        self.duels = Counter("pickapic_duels", "Prompts accepted", registry=self.registry)
        self.requests = Histogram(
            "pickapic_request_seconds",
            "Time to the first byte of an answer",
            ["method", "route", "status"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.jobs = Gauge("pickapic_jobs", "Images to be made, by state", ["state"], registry=self.registry)
        self._oldest = Gauge(
            "pickapic_oldest_job_seconds", "Age of the oldest image to be made", registry=self.registry
        )
        self._workers = Gauge("pickapic_workers", "Workers that are alive", registry=self.registry)
        self._benched = Gauge(
            "pickapic_generator_benched",
            "1 for a generator that is not drawn for now, because its provider fails",
            ["generator"],
            registry=self.registry,
        )
        self._recent_jobs = Gauge(
            "pickapic_recent_jobs",
            "Jobs that ended within five minutes",
            ["generator", "state"],
            registry=self.registry,
        )
        self._recent_seconds = Gauge(
            "pickapic_recent_job_seconds",
            "Seconds of making spent on the jobs that ended within five minutes",
            ["generator", "state"],
            registry=self.registry,
        )
        self.store_errors = Counter(
            "pickapic_store_errors",
            "Times that the image store did not do what it was asked",
            ["operation"],
            registry=self.registry,
        )
        self.scorer_images = Histogram(
            "pickapic_scorer_batch_images",
            "Images scored in one call of the scorer",
            buckets=IMAGE_BUCKETS,
            registry=self.registry,
        )
        self.scorer_seconds = Histogram(
            "pickapic_scorer_call_seconds",
            "Time that one call of the scorer takes",
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.scorer_wait = Histogram(
            "pickapic_scorer_wait_seconds",
            "Time that a request waits until its images are being scored",
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.scorer_waiting = Gauge(
            "pickapic_scorer_waiting_images", "Images that wait to be scored", registry=self.registry
        )
        self._of_request: dict[tuple[str, str, int], Histogram] = {}

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answer."""
        key = (method, route, status)
        child = self._of_request.get(key)
        if child is None:  # finding the child by its labels costs more than counting
            child = self._of_request[key] = self.requests.labels(method, route, str(status))
        child.observe(seconds)

    def show(self, condition: Condition, generators: Sequence[str]) -> None:
        """Set what is read from the database; `generators` are the names in the settings."""
        for state, count in condition.depths.items():
            self.jobs.labels(state).set(count)
        self._oldest.set(condition.oldest_seconds)
        self._workers.set(condition.workers)
        for name in generators:
            self._benched.labels(name).set(name in condition.benched)
        for gauge in (self._recent_jobs, self._recent_seconds):
            gauge.clear()
        for one in condition.recent:
            self._recent_jobs.labels(one.generator, one.state).set(one.jobs)
            self._recent_seconds.labels(one.generator, one.state).set(one.seconds)

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        if self._exchange is None:
            return self.own_text()
        return added([self.own_text().decode(), *self._exchange.others()])

    def own_text(self) -> bytes:
        """Return the metrics of this process."""
        return generate_latest(self.registry)


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
