"""The way into a queue: concurrent submissions share round trips, and none is acknowledged before Redis has it."""

from inferqueue_core.async_queue import AsyncRedisJobQueue
from inferqueue_core.jobs import Submission, SubmitOutcome
from inferqueue_core.refusals import LEAST_BYTES
from inferqueue_proxy.coalescing import Coalescer

BYTES_PER_CALL = 4 * 1024 * 1024
BYTES_PER_JOB = 16 * 1024


def weight(submission: Submission) -> int:
    """Give what a submission takes of a call, in bytes: 256 small jobs, or 4 MiB of data, make a call."""
    return sum(BYTES_PER_JOB + len(job.data) for job in submission.jobs)


class Submissions:
    """Submits to one queue.

    A submission so large that Redis may refuse it for its size has a call of its own, which keeps nobody waiting.
    """

    def __init__(self, queue: AsyncRedisJobQueue) -> None:
        self._queue = queue
        self._calls: Coalescer[Submission, SubmitOutcome] = Coalescer(queue.submit, BYTES_PER_CALL, weight)

    async def submit(self, submission: Submission) -> SubmitOutcome:
        """Accept the submission wholly or not at all.

        Raises QueueUnavailableError when Redis does not answer, QueueRefusedError when it does not take so much.
        """
        if sum(len(job.data) for job in submission.jobs) >= LEAST_BYTES:
            (outcome,) = await self._queue.submit([submission])
            return outcome
        return await self._calls.ask(submission)
