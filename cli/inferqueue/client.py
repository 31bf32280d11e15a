"""The synchronous client."""

import time
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from inferqueue.exchange import Flow, Reply, Send, Sleep
from inferqueue.flows import Flows, Options
from inferqueue.jobs import Job, JobStatus
from inferqueue.transport import Proxy, as_answer, as_failure, request_options

T = TypeVar("T")


class JobHandle:
    """A job that the proxy has accepted; it lives on without this handle, `client.job(id)` makes another."""

    def __init__(self, client: "Client", job_id: str) -> None:
        self._client = client
        self.id = job_id

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the result; raise JobFailed, JobCanceled, JobExpired, or WaitTimeout after `timeout` seconds."""
        return self._client._run(self._client._flows.result(self.id, timeout))

    def wait(self, timeout: float | None = None) -> Job:
        """Wait until the job has ended, however that is; raise WaitTimeout after `timeout` seconds."""
        return self._client._run(self._client._flows.wait(self.id, timeout))

    def read(self) -> Job:
        """Read the job as it stands: status, result, error, attempts, times."""
        return self._client._run(self._client._flows.read(self.id))

    def status(self) -> JobStatus:
        """Read the job's status."""
        return self.read().status

    def cancel(self) -> JobStatus:
        """Cancel the job; gives its status, still `processing` until its worker has stopped."""
        return self._client._run(self._client._flows.cancel(self.id))

    def __repr__(self) -> str:
        return f"JobHandle({self.id!r})"


class Client:
    """A client of the proxy at `url`; may be used by many threads at once.

    `url` and `api_key` default to INFERQUEUE_URL (else http://127.0.0.1:8000) and INFERQUEUE_API_KEY. `timeout` seconds
    is how long one request may take beside the waiting it asks for. Connection errors and answers that say «later» are
    repeated for up to `patience` seconds of pauses; a submit that is repeated makes one job, by its Idempotency-Key.
    """

    def __init__(
        self, url: str | None = None, *, api_key: str | None = None, timeout: float = 30.0, patience: float = 20.0
    ) -> None:
        proxy = Proxy.find(url, api_key)
        self.url = proxy.url
        self._timeout = timeout
        self._http = httpx.Client(**proxy.client_options())
        self._flows = Flows(proxy.url, patience, time.monotonic)

    def submit(
        self,
        data: Any,
        *,
        model: str | None = None,
        version: str | None = None,
        deadline_seconds: float | None = None,
        idempotency_key: str | None = None,
    ) -> JobHandle:
        """Submit one job: nested lists or a numpy array, or an object of them by input name.

        Without `model` it is for the proxy's own; without `version` for the highest that a worker serves. The job
        expires when no worker has taken it after `deadline_seconds`. The same `idempotency_key` with the same
        data gives the same job. Raises InvalidInput, Unauthorized, NotFound, QueueFull or Unreachable.
        """
        options = Options(model, deadline_seconds, idempotency_key, version)
        return JobHandle(self, self._run(self._flows.submit(data, options)).id)

    def submit_many(
        self,
        items: Iterable[Any],
        *,
        model: str | None = None,
        version: str | None = None,
        deadline_seconds: float | None = None,
        idempotency_key: str | None = None,
    ) -> list[JobHandle]:
        """Submit one job for each item, up to 1,000 in one request; gives the handles in order.

        Raises as `submit` does; requests before the one that was refused have made their jobs by then. The same call
        with the same `idempotency_key` goes on from there and makes none twice.
        """
        options = Options(model, deadline_seconds, idempotency_key, version)
        return [JobHandle(self, job_id) for job_id in self._run(self._flows.submit_many(items, options))]

    def predict(
        self,
        data: Any,
        *,
        model: str | None = None,
        version: str | None = None,
        deadline_seconds: float | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Submit one job and wait for its result, for `timeout` seconds at most; raises as `submit` and `result` do."""
        return self._run(self._flows.predict(data, Options(model, deadline_seconds, version=version), timeout))

    def job(self, job_id: str) -> JobHandle:
        """Return a handle on a job by its id; nothing is asked of the proxy yet."""
        return JobHandle(self, job_id)

    def queues(self) -> list[dict[str, Any]]:
        """Read what the proxy knows of each queue: its length, jobs in flight, workers, rates."""
        return self._run(self._flows.queues())

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, flow: Flow[T]) -> T:
        reply: Reply = None
        while True:
            try:
                step = flow.send(reply)
            except StopIteration as end:
                value: T = end.value
                return value
            if isinstance(step, Sleep):
                time.sleep(step.seconds)
                reply = None
            else:
                reply = self._send(step)

    def _send(self, send: Send) -> Reply:
        try:
            return as_answer(self._http.request(**request_options(send, self._timeout)))
        except httpx.RequestError as error:
            return as_failure(error)
