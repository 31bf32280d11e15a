"""What Prometheus is shown is what prometheus_client's own metrics would show."""

import re

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest

from inferqueue_worker.exposition import registry_of
from inferqueue_worker.metrics import WorkerMetrics

ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
SECONDS = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 60)


def page(registry: CollectorRegistry) -> str:
    """Give the page without the times at which series were made."""
    return re.sub(r"(?m)^(\w+_created\S*) .*$", r"\1", generate_latest(registry).decode())


class OwnMetrics:
    """The same metrics as prometheus_client has them."""

    def __init__(self) -> None:
        name = "inferqueue_worker"
        self.registry = registry = CollectorRegistry()
        self.jobs = Counter(f"{name}_jobs", "Jobs ended by this worker.", ["outcome"], registry=registry)
        self.stale = Counter(f"{name}_stale_results", "Results refused: the job was another's.", registry=registry)
        self.fallbacks = Counter(
            f"{name}_batch_fallbacks", "Batches that failed and were halved.", ["reason"], registry=registry
        )
        self.mismatches = Counter(
            f"{name}_row_mismatches",
            "Batches whose rows gave something else than they give alone.",
            registry=registry,
        )
        self.checked = Counter(f"{name}_checked_batches", "Batches run row by row as well.", registry=registry)
        self.batchable = Gauge(f"{name}_batchable", "Whether jobs run together.", registry=registry)
        self.strays = Counter(
            f"{name}_stray_jobs",
            "Times that a job of another model or version was set aside, or moved to its queue.",
            ["outcome"],
            registry=registry,
        )
        self.rows = Histogram(f"{name}_batch_rows", "Rows run together.", buckets=ROWS, registry=registry)
        self.seconds = Histogram(
            f"{name}_run_seconds",
            "Seconds per claim or batch, by phase.",
            ["phase"],
            buckets=SECONDS,
            registry=registry,
        )
        self.in_flight = Gauge(f"{name}_in_flight", "Jobs held now.", registry=registry)
        self.ready = Gauge(f"{name}_ready_seconds", "Seconds from start to ready.", registry=registry)
        self.model_stale = Gauge(
            f"{name}_model_stale", "1 while the model's new files cannot be served.", registry=registry
        )
        self.model = Info(f"{name}_model", "The model that is served.", registry=registry)


def test_a_worker_that_has_done_nothing_shows_what_it_will_count() -> None:
    assert page(registry_of(WorkerMetrics())) == page(OwnMetrics().registry)


def test_everything_that_is_counted_is_shown() -> None:
    own, metrics = OwnMetrics(), WorkerMetrics()
    for outcome, count in (("completed", 3), ("failed", 1), ("completed", 2)):
        own.jobs.labels(outcome).inc(count)
        metrics.jobs.add(count, outcome)
    own.stale.inc()
    metrics.stale.add(1)
    own.fallbacks.labels("ValueError").inc()
    metrics.fallbacks.add(1, "ValueError")
    own.mismatches.inc()
    metrics.row_mismatches.add(1)
    own.checked.inc(3)
    metrics.checked_batches.add(3)
    own.batchable.set(1)
    metrics.batchable = lambda: True
    own.strays.labels("moved").inc(2)
    metrics.strays.add(2, "moved")
    for batch in (1, 2, 3, 1024, 1025):
        own.rows.observe(batch)
        metrics.batch_rows.add(batch)
    for phase, took in (("run", 0.0001), ("run", 0.00011), ("decode", 99)):
        own.seconds.labels(phase).observe(took)
        metrics.phase_seconds.add(took, phase)
    own.in_flight.set(7)
    metrics.in_flight = lambda: 7
    own.ready.set(0.5)
    metrics.ready_seconds = 0.5
    own.model_stale.set(1)
    metrics.model_stale = True
    own.model.info({"model": "iris", "version": "1"})
    metrics.model = {"model": "iris", "version": "1"}
    assert page(registry_of(metrics)) == page(own.registry)
