"""The system as its clients see it: HTTP through the ingress, jobs sent, followed and counted."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx

from support.figures import Figures
from support.waiting import wait_until

# Looking costs the cores that do the work something, too.
_LOOK_SECONDS = 0.3
_MOST_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class EndedJob:
    """A job after its end; times in seconds since 1970, `worker` the pod that ran it."""

    id: str
    status: str
    attempts: int
    created: float
    started: float
    ended: float
    worker: str

    @property
    def took(self) -> float:
        return self.ended - self.created


class Gateway:
    """Our HTTP interface behind an ingress on a port of this machine, asked for by its host's name."""

    def __init__(self, port: int, host: str) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.headers = {"Host": host}
        limits = httpx.Limits(max_connections=16, max_keepalive_connections=16)
        self.http = httpx.Client(base_url=self.url, headers=self.headers, timeout=90, limits=limits, trust_env=False)

    def close(self) -> None:
        self.http.close()

    def get(self, path: str) -> Any:
        """Read a page; None while nobody answers for it."""
        try:
            answer = self.http.get(path, timeout=10)
        except httpx.TransportError:
            return None
        if answer.status_code >= 500:
            return None
        return answer.raise_for_status().json()

    def await_answers(self) -> None:
        """Return when the way through the ingress is open."""
        wait_until(self._is_open, 60, "an answer through the ingress", every=_LOOK_SECONDS)

    def _is_open(self) -> bool:
        try:
            return self.http.get("/health", timeout=5).status_code == 200
        except httpx.TransportError:
            return False


class ModelQueue:
    """A model's queue: from the first job sent to the end of all of them it counts what came, so nobody else may send.

    After `all_completed` it begins anew.
    """

    def __init__(self, gateway: Gateway, model: str, figures: Figures) -> None:
        self.gateway = gateway
        self.model = model
        self._figures = figures
        self._sent = 0
        self._completed_before = 0

    def look(self) -> dict[str, Any] | None:
        """Give the queue's entry of /queues; None while it cannot be read."""
        page = self.gateway.get("/queues")
        if page is None:
            return None
        return next((queue for queue in page["queues"] if self.model in queue["models"]), None)

    def counter(self, name: str) -> int:
        look = wait_until(self.look, what=f"a look at the queue of {self.model}", every=_LOOK_SECONDS)
        return int(look["counters"][name])

    def submit(self, count: int, data: object) -> list[str]:
        """Send so many jobs with the same data; give their ids."""
        if self._sent == 0:
            self._completed_before = self.counter("completed")
        ids: list[str] = []
        while len(ids) < count:
            jobs = [{"model": self.model, "data": data}] * min(_MOST_AT_ONCE, count - len(ids))
            answer = self.gateway.http.post("/predict/batch", json=jobs)
            assert answer.status_code == 202, answer.text
            ids += answer.json()["job_ids"]
        self._sent += count
        return ids

    def left(self) -> int:
        """Count the jobs that were sent and have not completed yet; negative: more results than jobs."""
        return self._sent - (self.counter("completed") - self._completed_before)

    def await_rest(self, timeout: float = 120) -> None:
        """Return when nothing waits or runs."""
        wait_until(self._is_idle, timeout, f"the queue of {self.model} is worked off", every=_LOOK_SECONDS)

    def all_completed(self, ids: Sequence[str], timeout: float = 120) -> list[EndedJob]:
        """Wait until nothing waits or runs, and give these jobs: each must have completed, and exactly once."""
        self.await_rest(timeout)
        with ThreadPoolExecutor(4) as pool:
            jobs = list(pool.map(self._read, ids))
        failed = [job for job in jobs if job.status != "completed"]
        left, self._sent = self.left(), 0
        self._figures.count(len(jobs), max(len(failed), left), max(0, -left))
        assert failed == []
        assert left == 0, f"{-left} results beyond one for each job"
        return jobs

    def _is_idle(self) -> bool:
        look = self.look()
        return look is not None and look["length"] + look["in_flight"] + look["delayed"] == 0

    def _read(self, job_id: str) -> EndedJob:
        job = wait_until(lambda: self.gateway.get(f"/job/{job_id}"), what=f"job {job_id}", every=_LOOK_SECONDS)
        result = job["result"]
        return EndedJob(
            id=job_id,
            status=job["status"],
            attempts=job["attempts"],
            created=_seconds(job["created_at"]),
            started=_seconds(job["started_at"]),
            ended=_seconds(job["completed_at"]),
            worker=result["worker"][0] if result and "worker" in result else "",
        )


def _seconds(moment: str | None) -> float:
    return 0.0 if moment is None else datetime.fromisoformat(moment).timestamp()


def share_within(seconds: float, jobs: Sequence[EndedJob]) -> float:
    """Give the share of jobs that had their results within so many seconds of being sent."""
    return sum(job.took <= seconds for job in jobs) / len(jobs)


def stopped_at_work(jobs: Sequence[EndedJob], deleted_at: Mapping[str, float]) -> list[EndedJob]:
    """Give the jobs that ended after their worker's pod had been deleted: it was busy then."""
    return [job for job in jobs if job.ended > deleted_at.get(job.worker, job.ended)]
