"""Versions of one model: side by side, one after another under load, and what an answer says of them."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.crowds import Crowd
from support.onnx_models import scaling, store
from support.programs import Proxy, Worker
from support.redis_servers import RedisServer
from support.waiting import wait_until

Start = Callable[..., Worker]
CLIENTS = 6


class Stack:
    """A Redis, a proxy, and a repository with versions 1 (`2x`) and 2 (`3x`) of `m`, and 2 columns in 3 (`5x`)."""

    def __init__(self, stack: ExitStack, repository: Path) -> None:
        self._stack = stack
        self._repository = repository
        self.redis = stack.enter_context(RedisServer())
        self.proxy = stack.enter_context(Proxy(self.redis.url))
        self.http = stack.enter_context(httpx.Client(base_url=self.proxy.url, timeout=70))

    def worker(self, version: int, queue: str = "predict_queue") -> Worker:
        settings = {"MODEL_REPOSITORY": str(self._repository), "MODEL_NAME": "m", "MODEL_VERSION": str(version)}
        return self._stack.enter_context(Worker(self.redis.url, QUEUE_NAME=queue, **settings))

    def infer(self, path: str = "", columns: int = 1) -> httpx.Response:
        tensor = {"name": "x", "datatype": "FP32", "shape": [1, columns], "data": [1] * columns}
        return self.http.post(f"/v2/models/m{path}/infer", json={"inputs": [tensor]})

    def answer(self, path: str = "", columns: int = 1) -> tuple[str, float]:
        """Give the version that an answer names, and its first number."""
        body = self.infer(path, columns).raise_for_status().json()
        return body["model_version"], body["outputs"][0]["data"][0]

    def queues(self) -> dict[str, Any]:
        return {queue["name"]: queue for queue in self.http.get("/queues").json()["queues"]}

    def await_ready(self, *versions: str) -> None:
        """Wait until the proxy knows just these versions as ready."""

        def ready() -> bool:
            seen = [entry for queue in self.queues().values() for entry in queue["versions"]]
            return sorted(entry["version"] for entry in seen if entry["ready"]) == sorted(versions)

        wait_until(ready, what=f"versions {versions} to be ready")


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    store(tmp_path, scaling(2), "m", version="1")
    store(tmp_path, scaling(3), "m", version="2")
    store(tmp_path, scaling(5, columns=2), "m", version="3")
    with ExitStack() as exits:
        yield Stack(exits, tmp_path)


def test_versions_side_by_side_each_answer_under_their_own_number(stack: Stack) -> None:
    stack.worker(2)
    old = stack.worker(1, "queue_v1")
    stack.await_ready("1", "2")
    assert [stack.answer(path) for path in ("/versions/1", "/versions/2", "")] == [("1", 2), ("2", 3), ("2", 3)]
    assert stack.http.get("/v2/models/m").json()["versions"] == ["1", "2"]
    index = stack.http.post("/v2/repository/index").json()
    assert [(entry["name"], entry["version"]) for entry in index] == [("m", "1"), ("m", "2")]
    assert {name: queue["model"] for name, queue in stack.queues().items()} == {"predict_queue": "m", "queue_v1": "m"}
    old.terminate()
    stack.worker(1, "queue_v1")
    assert stack.answer() == ("2", 3)
    stack.await_ready("1", "2")
    assert [stack.answer(path) for path in ("/versions/1", "")] == [("1", 2), ("2", 3)]


def test_without_a_version_the_highest_that_is_ready_answers(stack: Stack) -> None:
    stack.worker(1, "queue_v1")
    high = stack.worker(2, "queue_v2")
    stack.await_ready("1", "2")
    assert stack.answer() == ("2", 3)
    high.terminate()
    stack.await_ready("1")
    assert stack.answer() == ("1", 2)
    assert stack.http.get("/v2/models/m/versions/2/ready").is_success


def test_predict_takes_a_version_and_the_job_names_what_ran(stack: Stack) -> None:
    stack.worker(1)
    stack.worker(2)
    stack.await_ready("1", "2")
    for order, version, number in (({"model": "m", "version": "1"}, "1", 2), ({"version": "2"}, "2", 3)):
        body = {"data": [[1]]} | order
        job = stack.http.post("/predict", json=body, headers={"Prefer": "wait=30"}).raise_for_status().json()
        assert (job["result"], job["model"]["name"], job["model"]["version"]) == ({"y": [number]}, "m", version)
        assert job["model"]["digest"].startswith("sha256:")
    refused = stack.http.post("/predict", json={"data": [[1]], "model": "m", "version": "9"})
    assert refused.status_code == 404
    assert "it has '1', '2'" in refused.json()["detail"]
    assert stack.http.post("/predict", json={"data": [[1]], "model": "m", "version": 1}).status_code == 422


def test_a_waiting_job_is_canceled_in_its_own_queue(stack: Stack) -> None:
    stack.worker(1, "queue_v1").terminate()
    wait_until(lambda: stack.http.get("/v2/models/m").is_success)
    job_id = stack.http.post("/predict", json={"data": [[1]], "model": "m"}).json()["job_id"]
    assert stack.http.delete(f"/job/{job_id}").json()["status"] == "canceled"
    wait_until(lambda: "queue_v1" in stack.queues())
    counted = {name: queue["counters"]["canceled"] for name, queue in stack.queues().items()}
    assert counted == {"predict_queue": 0, "queue_v1": 1}


class Load(Crowd):
    """Clients that ask without a version, each answer of one of two proxies: written as the other's metadata says."""

    def __init__(self, stack: Stack, other: Proxy) -> None:
        super().__init__(CLIENTS)
        self.seen: Counter[tuple[str, float]] = Counter()
        self.bad: list[str] = []
        self._urls = (stack.proxy.url, other.url)

    def work(self, number: int) -> None:
        """Ask the two proxies in turn."""
        with ExitStack() as exits:
            proxies = [exits.enter_context(httpx.Client(base_url=url, timeout=70)) for url in self._urls]
            for turn in count(number):
                if self.is_over:
                    return
                metadata = proxies[turn % 2].get("/v2/models/m").raise_for_status().json()
                answer = self._send(proxies[1 - turn % 2], metadata["inputs"][0]["shape"][1], turn)
                if isinstance(answer, str):
                    self.bad.append(answer)
                else:
                    self.seen[answer] += 1

    def _send(self, proxy: httpx.Client, columns: int, turn: int) -> tuple[str, float] | str:
        """Return the version that answered and its number, or what was answered instead."""
        if turn % 3:
            tensor = {"name": "x", "datatype": "FP32", "shape": [1, columns], "data": [1] * columns}
            response = proxy.post("/v2/models/m/infer", json={"inputs": [tensor]})
            body = response.json()
            return (body["model_version"], body["outputs"][0]["data"][0]) if response.is_success else response.text
        order = {"model": "m", "data": [[1] * columns]}
        job = proxy.post("/predict", json=order, headers={"Prefer": "wait=60"}).json()
        if job.get("status") != "completed":
            return str(job)
        numbers = job["result"]["y"]
        return job["model"]["version"], numbers[0]


@pytest.mark.parametrize(
    ("new", "number", "queue"),
    [(2, 3.0, "predict_queue"), (3, 5.0, "predict_queue"), (3, 5.0, "queue_v3")],
    ids=["same shape, one queue", "other shape, one queue", "other shape, two queues"],
)
def test_rolling_to_the_next_version_under_load_fails_nothing(
    stack: Stack, new: int, number: float, queue: str
) -> None:
    old = stack.worker(1)
    stack.await_ready("1")
    after = (str(new), number)
    with Proxy(stack.redis.url) as other, Load(stack, other).at_work() as load:
        wait_until(lambda: load.seen["1", 2.0] > 20 or load.bad)
        stack.worker(new, queue)
        assert old.terminate() == 0
        stack.await_ready(str(new))
        wait_until(lambda: load.seen[after] > 50 or load.bad)
    assert load.bad == []
    assert {*load.seen} == {("1", 2.0), after}


def test_what_only_a_version_that_stops_can_run_is_run_before_it_ends(stack: Stack) -> None:
    old = stack.worker(1)
    stack.await_ready("1")
    stack.worker(3)
    stack.await_ready("1", "3")
    body = [{"data": [[1]], "model": "m", "version": "1"}] * 300
    ids = stack.http.post("/predict/batch", json=body).json()["job_ids"]
    assert old.terminate() == 0
    jobs = [stack.http.get(f"/job/{job_id}").json() for job_id in ids]
    assert Counter((job["status"], job["model"]["version"]) for job in jobs) == {("completed", "1"): 300}


def test_versions_on_one_queue_each_serve_their_own_shape(stack: Stack) -> None:
    stack.worker(1)
    stack.worker(3)
    stack.await_ready("1", "3")
    for _ in range(10):
        assert stack.answer("/versions/1") == ("1", 2)
        assert stack.answer("/versions/3", columns=2) == ("3", 5)
