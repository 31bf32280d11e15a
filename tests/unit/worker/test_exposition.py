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


def own_metrics() -> tuple[
    CollectorRegistry, Counter, Counter, Counter, Counter, Histogram, Histogram, Gauge, Gauge, Info
]:
    registry = CollectorRegistry()
    name = "inferqueue_worker"
    return (
        registry,
        Counter(f"{name}_jobs", "Jobs ended by this worker.", ["outcome"], registry=registry),
        Counter(f"{name}_stale_results", "Results refused: the job was another's.", registry=registry),
        Counter(f"{name}_batch_fallbacks", "Batches that failed and were halved.", ["reason"], registry=registry),
        Counter(
            f"{name}_stray_jobs",
            "Times that a job of another model or version was set aside, or moved to its queue.",
            ["outcome"],
            registry=registry,
        ),
        Histogram(f"{name}_batch_rows", "Rows run together.", buckets=ROWS, registry=registry),
        Histogram(
            f"{name}_run_seconds",
            "Seconds per claim or batch, by phase.",
            ["phase"],
            buckets=SECONDS,
            registry=registry,
        ),
        Gauge(f"{name}_in_flight", "Jobs held now.", registry=registry),
        Gauge(f"{name}_ready_seconds", "Seconds from start to ready.", registry=registry),
        Info(f"{name}_model", "The model that is served.", registry=registry),
    )


def test_a_worker_that_has_done_nothing_shows_what_it_will_count() -> None:
    assert page(registry_of(WorkerMetrics())) == page(own_metrics()[0])


def test_everything_that_is_counted_is_shown() -> None:
    registry, jobs, stale, fallbacks, strays, rows, seconds, in_flight, ready, model = own_metrics()
    metrics = WorkerMetrics()
    for outcome, count in (("completed", 3), ("failed", 1), ("completed", 2)):
        jobs.labels(outcome).inc(count)
        metrics.jobs.add(count, outcome)
    stale.inc()
    metrics.stale.add(1)
    fallbacks.labels("ValueError").inc()
    metrics.fallbacks.add(1, "ValueError")
    strays.labels("moved").inc(2)
    metrics.strays.add(2, "moved")
    for batch in (1, 2, 3, 1024, 1025):
        rows.observe(batch)
        metrics.batch_rows.add(batch)
    for phase, took in (("run", 0.0001), ("run", 0.00011), ("decode", 99)):
        seconds.labels(phase).observe(took)
        metrics.phase_seconds.add(took, phase)
    in_flight.set(7)
    metrics.in_flight = lambda: 7
    ready.set(0.5)
    metrics.ready_seconds = 0.5
    model.info({"model": "iris", "version": "1"})
    metrics.model = {"model": "iris", "version": "1"}
    assert page(registry_of(metrics)) == page(registry)
