"""What a client can ask of the proxy, each as a flow (see `exchange`) without any network."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any, TypeVar
from urllib.parse import quote
from uuid import uuid4

import orjson

from inferqueue.encoding import encode
from inferqueue.errors import Refused, WaitTimeout
from inferqueue.exchange import Flow, Send, exchange, strange_answer
from inferqueue.jobs import Job, JobStatus, read_job

LONGEST_WAIT_SECONDS = 30.0
BATCH_JOBS = 1000
LONGEST_KEY = 255
BATCH_BYTES = 4 * 1024 * 1024

Clock = Callable[[], float]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Options:
    """What may be said about a job beside its data."""

    model: str | None = None
    deadline_seconds: float | None = None
    idempotency_key: str | None = None
    version: str | None = None

    def body(self, data: Any) -> bytes:
        """Write the body of a submit."""
        fields: dict[str, Any] = {"data": orjson.Fragment(encode(data))}
        if self.model is not None:
            fields["model"] = self.model
        if self.version is not None:
            fields["version"] = self.version
        if self.deadline_seconds is not None:
            if not isfinite(self.deadline_seconds):
                raise ValueError(
                    f"deadline_seconds {self.deadline_seconds} is no number of seconds; leave it out for none"
                )
            fields["deadline_seconds"] = self.deadline_seconds
        return orjson.dumps(fields)


class Flows:
    """The flows of one client: `address` of its proxy, `patience` in seconds for pauses between repetitions."""

    def __init__(self, address: str, patience: float, clock: Clock) -> None:
        self._address = address
        self._patience = patience
        self._clock = clock

    def submit(self, data: Any, options: Options, wait: float = 0) -> Flow[Job]:
        """Submit one job, and give it as it stands after `wait` seconds or when it has ended."""
        headers = _submit_headers(options.idempotency_key)
        return self._job(_request("POST", "/predict", options.body(data), headers, wait))

    def submit_many(self, items: Iterable[Any], options: Options) -> Flow[list[str]]:
        """Submit many jobs in as few requests as their number and size allow; give their ids in order."""
        ids: list[str] = []
        for number, content in enumerate(_batches(options.body(data) for data in items)):
            key = options.idempotency_key
            headers = _submit_headers(None if key is None else f"{key}-{number}")
            request = _request("POST", "/predict/batch", content, headers)
            ids += yield from self._exchange(request, lambda body: [str(job_id) for job_id in body["job_ids"]])
        return ids

    def read(self, job_id: str, wait: float = 0) -> Flow[Job]:
        """Read a job, as it stands after `wait` seconds or when it has ended."""
        return self._job(_request("GET", _job_path(job_id), wait=wait))

    def wait(self, job_id: str, timeout: float | None) -> Flow[Job]:
        """Return the job when it has ended; raise WaitTimeout after `timeout` seconds, never where it is None."""
        return (yield from self._wait(job_id, self._clock(), timeout))

    def predict(self, data: Any, options: Options, timeout: float | None) -> Flow[Any]:
        """Submit, wait and give the result, in one request where that is enough."""
        started = self._clock()
        wait = LONGEST_WAIT_SECONDS if timeout is None else min(LONGEST_WAIT_SECONDS, timeout)
        job = yield from self.submit(data, options, wait)
        if not job.has_ended:
            job = yield from self._wait(job.id, started, timeout)
        return job.outcome()

    def result(self, job_id: str, timeout: float | None) -> Flow[Any]:
        """Wait for a job and give its result."""
        job = yield from self.wait(job_id, timeout)
        return job.outcome()

    def cancel(self, job_id: str) -> Flow[JobStatus]:
        """Cancel a job; give its status afterwards, which is still `processing` until its worker has stopped."""
        try:
            yield from self._exchange(_request("DELETE", _job_path(job_id)), lambda body: None)
        except Refused as refused:
            if refused.status != 409:  # it has ended before
                raise
        job = yield from self.read(job_id)
        return job.status

    def queues(self) -> Flow[list[dict[str, Any]]]:
        """Read what the proxy knows of each queue."""
        return self._exchange(_request("GET", "/queues"), lambda body: list(body["queues"]))

    def _wait(self, job_id: str, started: float, timeout: float | None) -> Flow[Job]:
        while True:
            left = inf if timeout is None else started + timeout - self._clock()
            job = yield from self.read(job_id, min(LONGEST_WAIT_SECONDS, max(0.0, left)))
            if job.has_ended:
                return job
            if timeout is not None and self._clock() >= started + timeout:
                raise WaitTimeout(job_id, timeout)

    def _job(self, request: Send) -> Flow[Job]:
        return self._exchange(request, read_job)

    def _exchange(self, request: Send, read: Callable[[Any], T]) -> Flow[T]:
        body = yield from exchange(request, self._address, self._patience)
        try:
            return read(body)
        except (LookupError, TypeError, ValueError):
            raise strange_answer(self._address) from None


def _request(
    method: str, path: str, content: bytes | None = None, headers: dict[str, str] | None = None, wait: float = 0
) -> Send:
    whole_seconds = int(-(-wait // 1))
    prefer = {"Prefer": f"wait={whole_seconds}"} if whole_seconds > 0 else {}
    return Send(method, path, content, {**(headers or {}), **prefer}, whole_seconds)


def _submit_headers(idempotency_key: str | None) -> dict[str, str]:
    key = str(uuid4()) if idempotency_key is None else idempotency_key
    return {"Content-Type": "application/json", "Idempotency-Key": quoted_key(key)}


def quoted_key(key: str) -> str:
    """Write an idempotency key as its header; raise ValueError for one that is none."""
    if not (key and key.isascii() and key.isprintable() and len(key) <= LONGEST_KEY):
        raise ValueError(f"idempotency key {key[:40]!r} is not 1 to {LONGEST_KEY} printable ASCII characters")
    quoted = key.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}"'


def _job_path(job_id: str) -> str:
    return f"/job/{quote(job_id, safe='')}"


def _batches(bodies: Iterable[bytes]) -> Iterator[bytes]:
    batch: list[bytes] = []
    size = 0
    for body in bodies:
        if batch and (len(batch) == BATCH_JOBS or size + len(body) > BATCH_BYTES):
            yield b"[" + b",".join(batch) + b"]"
            batch, size = [], 0
        batch.append(body)
        size += len(body) + 1
    if batch:
        yield b"[" + b",".join(batch) + b"]"
