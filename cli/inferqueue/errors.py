"""What can go wrong for a client.

InferQueueError
├── Unreachable          no proxy answers there, or it has no Redis, for longer than the client's patience
├── Refused              the proxy said no: `status`, `title`, `detail`
│   ├── InvalidInput     the data does not fit the model: `errors` names each field
│   ├── Unauthorized     the API key is missing or wrong
│   ├── NotFound         no such job (or its time is over), no such model
│   └── QueueFull        the queue is at its limit: `retry_after` seconds
├── JobEnded             the job ended without a result: `job` (these four stand beside it, in jobs.py)
│   ├── JobFailed        the model could not take the data, or every attempt failed
│   ├── JobCanceled      somebody canceled it
│   └── JobExpired       its deadline passed before a worker took it
└── WaitTimeout          the job goes on, the waiting does not: `job_id`; a TimeoutError too
"""

from collections.abc import Sequence


class InferQueueError(Exception):
    """Any failure that a client of inferqueue sees."""


class Unreachable(InferQueueError):
    """The proxy did not answer, or answered that it cannot work now; the same call may succeed later."""


class Refused(InferQueueError):
    """The proxy refused a request; the message is the proxy's, `status` the HTTP status."""

    def __init__(self, status: int, title: str, detail: str) -> None:
        super().__init__(detail or title or f"HTTP status {status}")
        self.status = status
        self.title = title
        self.detail = detail


class InvalidInput(Refused):
    """The request is not one that can run; `errors` are (field, message) pairs."""

    def __init__(self, status: int, title: str, detail: str, errors: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(status, title, detail)
        self.errors = tuple(errors)


class Unauthorized(Refused):
    """The proxy wants an API key, and this is none of its own."""


class NotFound(Refused):
    """The proxy knows no such job or model; a job is forgotten JOB_TTL seconds after its submission or its end."""


class QueueFull(Refused):
    """The queue holds as many jobs as it may; `retry_after` is the proxy's estimate in seconds."""

    def __init__(self, status: int, title: str, detail: str, retry_after: float) -> None:
        super().__init__(status, title, detail)
        self.retry_after = retry_after


class WaitTimeout(InferQueueError, TimeoutError):
    """The job has not ended within the time given; it still may: ask again with `client.job(error.job_id)`."""

    def __init__(self, job_id: str, timeout: float) -> None:
        super().__init__(f"job {job_id} has not ended within {timeout:g} s")
        self.job_id = job_id
