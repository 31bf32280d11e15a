"""The asynchronous client; what it sends and how it reads answers is the synchronous client's."""

import asyncio
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from inferqueue.exchange import Flow, Reply, Send, Sleep
from inferqueue.flows import Flows, Options
from inferqueue.jobs import Job, JobStatus
from inferqueue.transport import CONNECTIONS, Proxy, as_answer, as_failure, request_options

T = TypeVar("T")


class AsyncJobHandle:
    """A job that the proxy has accepted; it lives on without this handle, `client.job(id)` makes another."""

    def __init__(self, client: "AsyncClient", job_id: str) -> None:
        self._client = client
        self.id = job_id

    async def result(self, timeout: float | None = None) -> Any:
        """Wait for the result; raise JobFailed, JobCanceled, JobExpired, or WaitTimeout after `timeout` seconds."""
        return await self._client._run(self._client._flows.result(self.id, timeout))

    async def wait(self, timeout: float | None = None) -> Job:
        """Wait until the job has ended, however that is; raise WaitTimeout after `timeout` seconds."""
        return await self._client._run(self._client._flows.wait(self.id, timeout))

    async def read(self) -> Job:
        """Read the job as it stands: status, result, error, attempts, times."""
        return await self._client._run(self._client._flows.read(self.id))

    async def status(self) -> JobStatus:
        """Read the job's status."""
        return (await self.read()).status

    async def cancel(self) -> JobStatus:
        """Cancel the job; gives its status, still `processing` until its worker has stopped."""
        return await self._client._run(self._client._flows.cancel(self.id))

    def __repr__(self) -> str:
        return f"AsyncJobHandle({self.id!r})"


class AsyncClient:
    """A client of the proxy at `url` for asyncio; one client may run many calls at once.

    Arguments, retries and errors are those of `Client`.
    """

    def __init__(
        self, url: str | None = None, *, api_key: str | None = None, timeout: float = 30.0, patience: float = 20.0
    ) -> None:
        proxy = Proxy.find(url, api_key)
        self.url = proxy.url
        self._timeout = timeout
        self._http = httpx.AsyncClient(**proxy.client_options())
        # httpx looks at every request that waits for a connection whenever one ends: a thousand would take minutes.
        self._turns = asyncio.Semaphore(CONNECTIONS)
        self._flows = Flows(proxy.url, patience, time.monotonic)

    async def submit(
        self,
        data: Any,
        *,
        model: str | None = None,
        version: str | None = None,
        deadline_seconds: float | None = None,
        idempotency_key: str | None = None,
    ) -> AsyncJobHandle:
        """Submit one job, as `Client.submit` does."""
        options = Options(model, deadline_seconds, idempotency_key, version)
        return AsyncJobHandle(self, (await self._run(self._flows.submit(data, options))).id)

    async def submit_many(
        self,
        items: Iterable[Any],
        *,
        model: str | None = None,
        version: str | None = None,
        deadline_seconds: float | None = None,
        idempotency_key: str | None = None,
    ) -> list[AsyncJobHandle]:
        """Submit one job for each item, up to 1,000 in one request; gives the handles in order."""
        options = Options(model, deadline_seconds, idempotency_key, version)
        return [AsyncJobHandle(self, job_id) for job_id in await self._run(self._flows.submit_many(items, options))]

    async def predict(
        self,
        data: Any,
        *,
        model: str | None = None,
        version: str | None = None,
        deadline_seconds: float | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Submit one job and wait for its result, for `timeout` seconds at most; raises as `submit` and `result` do."""
        return await self._run(self._flows.predict(data, Options(model, deadline_seconds, version=version), timeout))

    def job(self, job_id: str) -> AsyncJobHandle:
        """Return a handle on a job by its id; nothing is asked of the proxy yet."""
        return AsyncJobHandle(self, job_id)

    async def queues(self) -> list[dict[str, Any]]:
        """Read what the proxy knows of each queue: its length, jobs in flight, workers, rates."""
        return await self._run(self._flows.queues())

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _run(self, flow: Flow[T]) -> T:
        reply: Reply = None
        while True:
            try:
                step = flow.send(reply)
            except StopIteration as end:
                value: T = end.value
                return value
            if isinstance(step, Sleep):
                await asyncio.sleep(step.seconds)
                reply = None
            else:
                reply = await self._send(step)

    async def _send(self, send: Send) -> Reply:
        try:
            async with self._turns:
                return as_answer(await self._http.request(**request_options(send, self._timeout)))
        except httpx.RequestError as error:
            return as_failure(error)
