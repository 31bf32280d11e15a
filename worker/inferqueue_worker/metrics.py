"""The worker's Prometheus metrics, in base units."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_SECONDS = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 60)


class WorkerMetrics:
    """All metrics of one worker, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.jobs = Counter("inferqueue_worker_jobs", "Jobs ended by this worker.", ["outcome"], registry=self.registry)
        self.stale = Counter(
            "inferqueue_worker_stale_results", "Results refused: the job was another's.", registry=self.registry
        )
        self.fallbacks = Counter(
            "inferqueue_worker_batch_fallbacks",
            "Batches that failed and were halved.",
            ["reason"],
            registry=self.registry,
        )
        self.batch_rows = Histogram(
            "inferqueue_worker_batch_rows", "Rows run together.", buckets=_ROWS, registry=self.registry
        )
        self.phase_seconds = Histogram(
            "inferqueue_worker_run_seconds",
            "Seconds per claim or batch, by phase.",
            ["phase"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.in_flight = Gauge("inferqueue_worker_in_flight", "Jobs held now.", registry=self.registry)
        self.ready_seconds = Gauge(
            "inferqueue_worker_ready_seconds", "Seconds from start to ready.", registry=self.registry
        )
        self.model = Info("inferqueue_worker_model", "The model that is served.", registry=self.registry)
