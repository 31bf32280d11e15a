"""Putting jobs into a queue for a client: what is answered when it takes them, and when it does not."""

from dataclasses import dataclass

from inferqueue_core.errors import QueueError, QueueRefusedError
from inferqueue_core.jobs import Accepted, AlreadyAccepted, Submission
from inferqueue_proxy.problems import Problem
from inferqueue_proxy.queues import Queue
from inferqueue_proxy.services import Services


@dataclass(frozen=True, slots=True)
class Placed:
    """Jobs that are in the queue, or were made before by the same Idempotency-Key; `ahead` is then not known."""

    job_ids: tuple[str, ...]
    ahead: int | None

    @property
    def replayed(self) -> bool:
        return self.ahead is None


async def place(services: Services, queue: Queue, submission: Submission) -> Placed:
    """Submit; raise a Problem when the queue is full or the Idempotency-Key stands for another request.

    Raises a QueueError when Redis is away, or does not take so much.
    """
    count = len(submission.jobs)
    try:
        outcome = await queue.submissions.submit(submission)
    except QueueRefusedError:
        services.metrics.submitted(queue.name, "refused", count)
        raise
    except QueueError:
        services.metrics.submitted(queue.name, "unavailable", count)
        raise
    match outcome:
        case Accepted(job_ids, ahead):
            services.metrics.submitted(queue.name, "accepted", count)
            return Placed(job_ids, ahead)
        case AlreadyAccepted(job_ids, fingerprint):
            if submission.idempotency is None or fingerprint != submission.idempotency.fingerprint:
                services.metrics.submitted(queue.name, "conflict", count)
                raise Problem(
                    "idempotency-conflict",
                    "this Idempotency-Key stands for an earlier request with another body; take a new one",
                )
            services.metrics.submitted(queue.name, "replayed", count)
            return Placed(job_ids, None)
        case full:
            services.metrics.submitted(queue.name, "full", count)
            seconds = services.monitor.drain_seconds(queue.name)
            raise Problem(
                "queue-full",
                f"queue {queue.name!r} holds {full.length} jobs, its limit is {services.settings.queue_max_length} "
                f"(QUEUE_MAX_LENGTH); retry in {seconds} s",
                headers={"Retry-After": str(seconds)},
            )
