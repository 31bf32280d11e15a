"""The operator's metrics."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from inferqueue_core.scaling import Decision, QueueLook
from inferqueue_operator.resource import Identity
from inferqueue_operator.statuses import Finding

_QUEUE = ("namespace", "name")
_PREFIX = "inferqueue_operator"


class OperatorMetrics:
    """All metrics in one registry; those of a queue are dropped when it goes."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        buckets = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"{_PREFIX}_{name}", text, _QUEUE, registry=registry)

        self.reconciles = Counter(
            f"{_PREFIX}_reconcile", "Reconciliations by result", (*_QUEUE, "result"), registry=registry
        )
        self.seconds = Histogram(
            f"{_PREFIX}_reconcile_duration_seconds", "Seconds of one reconciliation", registry=registry, buckets=buckets
        )
        self.scalings = Counter(
            f"{_PREFIX}_scale_actions", "Changes of replicas", (*_QUEUE, "direction"), registry=registry
        )
        self.queue_errors = Counter(
            f"{_PREFIX}_queue_errors", "Times that the queue could not be read", _QUEUE, registry=registry
        )
        self.backlog = gauge("queue_backlog", "Jobs that wait")
        self.in_flight = gauge("queue_in_flight", "Jobs that run")
        self.oldest_age = gauge("queue_oldest_age_seconds", "How long the job at the front has been waiting")
        self.max_wait = gauge("objective_max_wait_seconds", "How long a job may wait; absent without such an objective")
        self.arrival_rate = gauge("queue_arrivals_per_second", "Jobs a second that keep arriving")
        self.service_rate = gauge("worker_jobs_per_second", "Jobs a second of one worker, learned")
        self.cold_start = gauge("worker_cold_start_seconds", "Seconds from a pod's creation to work, learned")
        self.desired = gauge("desired_replicas", "Replicas that the law wants")
        self.current = gauge("current_replicas", "Replicas that the Deployment is asked for")
        self.limited = gauge("scaling_limited", "1 while the queue needs more than maxReplicas")
        self.fallback = gauge("fallback_active", "1 while the fallback holds")
        self.suspended = gauge("suspended", "1 while spec.suspend is true")
        self.read_at = gauge("last_successful_poll_timestamp_seconds", "When the queue was last read")
        self._gauges = (
            *(self.backlog, self.in_flight, self.arrival_rate, self.service_rate, self.cold_start),
            *(self.oldest_age, self.max_wait, self.desired, self.current, self.limited),
            *(self.fallback, self.suspended, self.read_at),
        )

    def note_decision(self, identity: Identity, look: QueueLook, decision: Decision, now: float) -> None:
        """Show a look at the queue and the decision that was made from it."""
        labels = (identity.namespace, identity.name)
        self.oldest_age.labels(*labels).set(max((age for _, age in look.ages), default=0.0))
        self.backlog.labels(*labels).set(decision.queued)
        self.in_flight.labels(*labels).set(decision.in_flight)
        self.arrival_rate.labels(*labels).set(decision.arrival_rate)
        self.service_rate.labels(*labels).set(decision.service_rate)
        self.cold_start.labels(*labels).set(decision.cold_start)
        self.read_at.labels(*labels).set(now)

    def note_replicas(self, identity: Identity, current: int, desired: int) -> None:
        self.current.labels(identity.namespace, identity.name).set(current)
        self.desired.labels(identity.namespace, identity.name).set(desired)

    def note_finding(self, identity: Identity, finding: Finding, max_wait: float | None) -> None:
        """Show what holds now, and the wait that is promised, if one is."""
        labels = (identity.namespace, identity.name)
        decision = finding.decision
        self.limited.labels(*labels).set(decision is not None and decision.reason == "Maximum")
        self.fallback.labels(*labels).set(finding.fallback)
        self.suspended.labels(*labels).set(finding.suspended)
        if max_wait is None:
            self.max_wait.remove_by_labels({"namespace": identity.namespace, "name": identity.name})
        else:
            self.max_wait.labels(*labels).set(max_wait)

    def note_scaling(self, identity: Identity, before: int, after: int) -> None:
        self.scalings.labels(identity.namespace, identity.name, "up" if after > before else "down").inc()

    def forget(self, identity: Identity) -> None:
        """Drop what was told of a queue that is no longer followed."""
        for metric in (*self._gauges, self.reconciles, self.scalings, self.queue_errors):
            metric.remove_by_labels({"namespace": identity.namespace, "name": identity.name})
