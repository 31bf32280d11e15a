"""The worker's Prometheus metrics: names, help and labels for what it counts."""

from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from inferqueue_worker.metrics import Tally, WorkerMetrics


def registry_of(metrics: WorkerMetrics) -> CollectorRegistry:
    """Make a registry in which Prometheus finds a worker's metrics as they are when it asks."""
    registry = CollectorRegistry()
    registry.register(_Worker(metrics))
    return registry


class _Worker(Collector):
    def __init__(self, metrics: WorkerMetrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        """Yield each metric of the worker."""
        own = self._metrics
        yield _counter("inferqueue_worker_jobs", "Jobs ended by this worker.", own.jobs, "outcome")
        yield _counter("inferqueue_worker_stale_results", "Results refused: the job was another's.", own.stale)
        yield _counter(
            "inferqueue_worker_batch_fallbacks", "Batches that failed and were halved.", own.fallbacks, "reason"
        )
        yield _counter(
            "inferqueue_worker_row_mismatches",
            "Batches whose rows gave something else than they give alone.",
            own.row_mismatches,
        )
        yield _counter("inferqueue_worker_checked_batches", "Batches run row by row as well.", own.checked_batches)
        yield GaugeMetricFamily("inferqueue_worker_batchable", "Whether jobs run together.", own.batchable())
        yield _counter(
            "inferqueue_worker_stray_jobs",
            "Times that a job of another model or version was set aside, or moved to its queue.",
            own.strays,
            "outcome",
        )
        yield _histogram("inferqueue_worker_batch_rows", "Rows run together.", own.batch_rows)
        yield _histogram(
            "inferqueue_worker_run_seconds", "Seconds per claim or batch, by phase.", own.phase_seconds, "phase"
        )
        yield GaugeMetricFamily("inferqueue_worker_in_flight", "Jobs held now.", own.in_flight())
        yield GaugeMetricFamily("inferqueue_worker_ready_seconds", "Seconds from start to ready.", own.ready_seconds)
        yield GaugeMetricFamily(
            "inferqueue_worker_model_stale", "1 while the model's new files cannot be served.", own.model_stale
        )
        yield InfoMetricFamily("inferqueue_worker_model", "The model that is served.", own.model)


def _counter(name: str, text: str, tally: Tally, *labels: str) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for values, series in tally.series().items():
        family.add_metric(values, series.sum, created=series.since)
    return family


def _histogram(name: str, text: str, tally: Tally, *labels: str) -> Metric:
    family = HistogramMetricFamily(name, text, labels=labels)
    bounds = [*(str(float(bound)) for bound in tally.bounds), "+Inf"]
    for values, series in tally.series().items():
        family.add_metric(values, list(zip(bounds, accumulate(series.buckets), strict=True)), series.sum)
        family.add_sample(f"{name}_created", dict(zip(labels, values, strict=True)), series.since)
    return family
