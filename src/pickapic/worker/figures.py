"""A worker's figures for Prometheus, read from the worker when somebody asks."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from pickapic.worker.worker import Worker


class WorkerFigures(Collector):
    """What became of a worker's jobs, how long they took, and what it holds."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def collect(self) -> Iterator[Metric]:
        """Yield the figures as they are now."""
        ended = CounterMetricFamily(
            "pickapic_worker_jobs",
            "Jobs that this worker handed over, by what became of them",
            labels=["generator", "outcome"],
        )
        # A copy, since another thread may be the one that asks.
        for (generator, outcome), count in list(self._worker.tallies.items()):
            ended.add_metric([generator, outcome], count)
        yield ended
        seconds = CounterMetricFamily(
            "pickapic_worker_making_seconds", "Seconds spent on making images", labels=["generator"]
        )
        for generator, spent in list(self._worker.seconds.items()):
            seconds.add_metric([generator], spent)
        yield seconds
        yield CounterMetricFamily(
            "pickapic_worker_leases_lost",
            "Jobs that were taken from this worker, because it was silent or their prompt has ended",
            value=self._worker.leases_lost,
        )
        yield CounterMetricFamily(
            "pickapic_worker_store_errors",
            "Times that the image store, or the server before it, did not take or give a file",
            value=self._worker.store_errors,
        )
        yield GaugeMetricFamily(
            "pickapic_worker_jobs_held", "Jobs that this worker has leased", value=self._worker.holding
        )
