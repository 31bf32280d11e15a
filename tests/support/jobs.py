"""Jobs as tests want them: made, claimed and ended in one line each."""

from collections.abc import Callable, Sequence

from inferqueue_core.ids import new_job_id
from inferqueue_core.jobs import ClaimedJob, Completed, FinishOutcome, Job, JobStatus, NewJob, Submission
from inferqueue_core.queue import JobQueue, RedisJobQueue

WORKER = "worker-1"

MakeQueue = Callable[..., RedisJobQueue]
"""Makes a queue with the fields of its policy that are named."""


def submit_jobs(queue: JobQueue, count: int = 1, data: bytes = b"[1]", deadline_seconds: float = 0) -> list[str]:
    """Submit `count` jobs, each by itself, in one round trip; give their ids in order."""
    ids = [new_job_id() for _ in range(count)]
    queue.submit([Submission((NewJob(job_id, data, deadline_seconds),)) for job_id in ids])
    return ids


def claim(queue: JobQueue, limit: int = 100, worker: str = WORKER, max_bytes: int = 1 << 30) -> list[ClaimedJob]:
    """Claim up to `limit` jobs."""
    return list(queue.claim(worker, limit, max_bytes).jobs)


def claim_one(queue: JobQueue, worker: str = WORKER) -> ClaimedJob:
    """Claim the next job, of which there must be one."""
    (job,) = claim(queue, 1, worker)
    return job


def complete(queue: JobQueue, jobs: Sequence[ClaimedJob], result: bytes = b"{}") -> list[FinishOutcome]:
    """Finish all of `jobs` with the same result."""
    return queue.finish([Completed(job, result) for job in jobs])


def read(queue: JobQueue, job_id: str) -> Job:
    """Read a job that must be known."""
    (job,) = queue.jobs([job_id])
    assert job is not None, f"job {job_id} is unknown"
    return job


def status(queue: JobQueue, job_id: str) -> JobStatus:
    """Read where a job stands."""
    return read(queue, job_id).status
