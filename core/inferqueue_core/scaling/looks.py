"""A queue as the law sees it, read from one look at Redis."""

from inferqueue_core.jobs import QueueObservation
from inferqueue_core.scaling.values import QueueLook

# Positions of the queue whose ages are read.
SAMPLES = 10


def look_at(observation: QueueObservation) -> QueueLook:
    """Turn one look at Redis into what the law wants; jobs that wait for a retry will need a worker too."""
    counters, reports = observation.counters, [worker.report for worker in observation.workers]
    return QueueLook(
        queued=observation.length + observation.delayed,
        in_flight=observation.in_flight,
        ages=tuple((position, age) for position, age in observation.samples if age is not None),
        submitted=counters.get("submitted", 0),
        ended=sum(counters.get(name, 0) for name in ("completed", "failed", "canceled", "expired")),
        busy=sum(report.in_flight > 0 for report in reports),
        jobs_done=sum(report.jobs for report in reports),
        busy_seconds=sum(report.busy_seconds for report in reports),
        runners=max((report.runners for report in reports), default=1),
        held=tuple(report.held_seconds for report in reports if report.in_flight > 0),
    )
