"""Prometheus metrics of the proxy, on a port of their own."""

import time
from collections.abc import Iterable, Iterator
from functools import lru_cache

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from inferqueue_core.connection import ServerState
from inferqueue_proxy.connection_limits import ConnectionLimits
from inferqueue_proxy.monitor import COUNTERS, Monitor
from inferqueue_proxy.waiting import Waiting

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """The registry and what handlers count."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "inferqueue_http_requests", "Requests answered.", ("route", "method", "code"), registry=self.registry
        )
        self._seconds = Histogram(
            "inferqueue_http_request_duration_seconds",
            "Time from a request's first byte to its answer's last.",
            ("route",),
            registry=self.registry,
            buckets=_BUCKETS,
        )
        self._submits = Counter(
            "inferqueue_submits", "Jobs sent, by what became of them.", ("queue", "outcome"), registry=self.registry
        )
        self._let_go = Counter(
            "inferqueue_http_connections_let_go",
            "Connections refused or closed: over the limit, or too slow with a request, its head, its body, an answer.",
            ("reason",),
            registry=self.registry,
        )
        self._connections = Gauge("inferqueue_http_connections", "Clients connected.", registry=self.registry)
        self._connections_max = Gauge(
            "inferqueue_http_connections_max", "Clients that may be connected.", registry=self.registry
        )
        self._by_route = lru_cache(maxsize=None)(
            lambda route, method, code: (self._requests.labels(route, method, code), self._seconds.labels(route))
        )
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)

    def answered(self, route: str, method: str, code: int, seconds: float) -> None:
        counter, histogram = self._by_route(route, method, code)
        counter.inc()
        histogram.observe(seconds)

    def submitted(self, queue: str, outcome: str, jobs: int) -> None:
        """Count jobs as accepted, replayed, conflict, full, refused or unavailable."""
        self._submits.labels(queue, outcome).inc(jobs)

    def let_go(self, reason: str) -> None:
        """Count a client that was too slow, or one too many."""
        self._let_go.labels(reason).inc()

    def watch_connections(self, limits: ConnectionLimits) -> None:
        """Show how many clients are connected, and how many may be."""
        self._connections.set_function(lambda: limits.connections)
        self._connections_max.set(limits.maximum)

    def watch(self, monitor: Monitor, waiting: Waiting) -> None:
        """Show the queues as the monitor last saw them."""
        self.registry.register(_Gauges(monitor, waiting))


class _Gauges(Collector):
    def __init__(self, monitor: Monitor, waiting: Waiting) -> None:
        self._monitor = monitor
        self._waiting = waiting

    def collect(self) -> Iterator[Metric]:
        looks = sorted(self._monitor.looks.items())

        def gauge(name: str, text: str, values: Iterable[tuple[str, float]]) -> Metric:
            family = GaugeMetricFamily(f"inferqueue_queue_{name}", text, labels=["queue"])
            for queue, value in values:
                family.add_metric([queue], value)
            return family

        yield gauge("length", "Jobs that wait in the list.", ((q, k.observation.length) for q, k in looks))
        yield gauge("in_flight", "Jobs that workers hold.", ((q, k.observation.in_flight) for q, k in looks))
        yield gauge("delayed", "Jobs that wait for a retry.", ((q, k.observation.delayed) for q, k in looks))
        yield gauge("dead", "Dead letters.", ((q, k.observation.dead) for q, k in looks))
        yield gauge("dead_bytes", "Bytes of the dead letters' data.", ((q, k.observation.dead_bytes) for q, k in looks))
        missing = ((q, k.observation.missing) for q, k in looks)
        yield gauge("missing", "Jobs that were accepted and neither ended nor are in Redis any more.", missing)
        yield gauge("workers", "Workers heard of lately.", ((q, len(k.observation.workers)) for q, k in looks))
        ages = ((q, k.oldest_age_seconds or 0) for q, k in looks)
        yield gauge("oldest_age_seconds", "How long the job at the front has been waiting.", ages)
        jobs = CounterMetricFamily(
            "inferqueue_queue_jobs", "What became of the queue's jobs, through any program.", labels=["queue", "event"]
        )
        for queue, look in looks:
            for event in COUNTERS:
                jobs.add_metric([queue, event], look.observation.counters.get(event, 0))
        yield jobs
        yield GaugeMetricFamily("inferqueue_waiting_clients", "Clients that wait for a job.", self._waiting.count)
        yield GaugeMetricFamily("inferqueue_redis_up", "Whether Redis answered last.", float(bool(looks)))
        yield GaugeMetricFamily(
            "inferqueue_redis_suitable", "Whether Redis can hold queues.", float(self._monitor.suitable)
        )
        losses = CounterMetricFamily(
            "inferqueue_redis_losses", "How often Redis has lost what it had acknowledged.", labels=["queue"]
        )
        for queue, _ in looks:
            losses.add_metric([queue], self._monitor.losses[queue])
        yield losses
        if self._monitor.server is not None:
            yield from _of_server(self._monitor.server)


def _of_server(server: ServerState) -> Iterator[Metric]:
    yield GaugeMetricFamily("inferqueue_redis_memory_used_bytes", "Memory that Redis uses.", server.used_memory)
    yield GaugeMetricFamily("inferqueue_redis_memory_max_bytes", "Redis' maxmemory; 0: no limit.", server.maxmemory)
    yield CounterMetricFamily("inferqueue_redis_evicted_keys", "Keys that Redis has evicted.", server.evicted_keys)
    if server.persists is not None:
        yield GaugeMetricFamily(
            "inferqueue_redis_persists", "Whether a restart of Redis keeps what it holds.", float(server.persists)
        )


ROUTED = "inferqueue.routed"
"""Key of the request's scope: a dict in which the router notes the `path` template of its route."""


class Measurement:
    """Middleware: counts and times every request under its route's template."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begin = time.perf_counter()
        code = 500
        routed: dict[str, str] = {}
        scope[ROUTED] = routed

        async def note_code(message: Message) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, note_code)
        finally:
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._metrics.answered(routed.get("path", "other"), method, code, time.perf_counter() - begin)


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
