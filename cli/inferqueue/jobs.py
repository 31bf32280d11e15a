"""A job as the client sees it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from inferqueue.errors import InferQueueError
from inferqueue_core.jobs import JobStatus

__all__ = ["Job", "JobCanceled", "JobEnded", "JobExpired", "JobFailed", "JobStatus", "read_job"]


@dataclass(frozen=True, slots=True)
class Job:
    """A job at one moment: `result` is None until it has completed; times are UTC, and None until they come to pass."""

    id: str
    status: JobStatus
    result: Any = None
    error: str | None = None
    attempts: int = 0
    created_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None

    @property
    def has_ended(self) -> bool:
        return self.status.is_final

    def outcome(self) -> Any:
        """Return the result; raise JobFailed, JobCanceled or JobExpired for a job that ended without one."""
        without_result = _WITHOUT_RESULT.get(self.status)
        if without_result is not None:
            raise without_result(self)
        return self.result


class JobEnded(InferQueueError):
    """A job ended without a result; `job` is all that is known of it."""

    def __init__(self, job: Job) -> None:
        super().__init__(f"job {job.id} {job.status}" + (f": {job.error}" if job.error else ""))
        self.job = job


class JobFailed(JobEnded):
    """The model could not take the data, or every attempt failed; the message says why."""


class JobCanceled(JobEnded):
    """Somebody canceled the job."""


class JobExpired(JobEnded):
    """The job's deadline passed before a worker took it."""


_WITHOUT_RESULT: dict[JobStatus, type[JobEnded]] = {
    JobStatus.FAILED: JobFailed,
    JobStatus.CANCELED: JobCanceled,
    JobStatus.EXPIRED: JobExpired,
}


def read_job(body: Any) -> Job:
    """Read the proxy's JSON of a job; raise LookupError, TypeError or ValueError when it is none."""
    return Job(
        id=str(body["job_id"]),
        status=JobStatus(body.get("status", JobStatus.PENDING)),
        result=body.get("result"),
        error=body.get("error"),
        attempts=int(body.get("attempts") or 0),
        created_at=_time(body.get("created_at")),
        started_at=_time(body.get("started_at")),
        completed_at=_time(body.get("completed_at")),
    )


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
