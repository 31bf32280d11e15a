"""Servers that change while they are used: failovers behind one address, an emptied Redis, other settings."""

import shutil
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from inferqueue_core.connection import connect
from inferqueue_core.jobs import Completed
from inferqueue_core.policy import QueuePolicy
from inferqueue_core.queue import RedisJobQueue
from inferqueue_core.queue_settings import RedisSettings
from support.jobs import claim, submit_jobs
from support.ports import free_port
from support.programs import Proxy, Worker
from support.redis_servers import RedisServer
from support.waiting import wait_until

FLOWER = {"model": "iris", "data": [[5.1, 3.5, 1.4, 0.2]]}
INFER = {"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 4], "data": [5.1, 3.5, 1.4, 0.2]}]}


@dataclass
class Pair:
    """Two servers, and an address that leads to the primary."""

    primary: RedisServer
    replica: RedisServer
    ports: tuple[int, int]
    address: Path

    @property
    def url(self) -> str:
        return f"unix://{self.address}"

    def fail_over(self) -> None:
        """Let the two change places when the replica has everything; nobody loses a connection."""
        with self.primary.client() as old, self.replica.client() as new:
            old.incr("mark")  # WAIT asks for what its own connection has written
            wait_until(lambda: old.wait(1, 1000) == 1, 60, what="the replica to have it all")
            new.execute_command("REPLICAOF", "NO", "ONE")
            old.execute_command("REPLICAOF", "127.0.0.1", str(self.ports[1]))
        self._lead_to(self.replica)

    def _lead_to(self, server: RedisServer) -> None:
        link = self.address.with_suffix(".new")
        link.symlink_to(server.socket)
        link.rename(self.address)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    ports = free_port(), free_port()
    replica_of = ("--replicaof", "127.0.0.1", str(ports[0]), "--repl-diskless-sync-delay", "0")
    with RedisServer("--port", str(ports[0])) as one, RedisServer("--port", str(ports[1]), *replica_of) as two:
        address = one.folder / "address"
        address.symlink_to(one.socket)
        with two.client() as client:
            wait_until(lambda: client.info("replication")["master_link_status"] == "up", 60, what="the replica")
        yield Pair(one, two, ports, address)


def test_a_proxy_and_a_worker_go_on_with_the_new_primary(pair: Pair) -> None:
    with Worker(pair.url), Proxy(pair.url) as proxy, httpx.Client(base_url=proxy.url, timeout=30) as http:
        wait_until(lambda: http.get("/v2/models/iris").is_success, what="the model")

        def ask() -> str:
            answer = http.post("/predict", json=FLOWER, headers={"Prefer": "wait=20"})
            return str(answer.json().get("status"))

        assert ask() == "completed"
        pair.fail_over()
        assert ask() == "completed"
        assert http.get("/readyz").status_code == 200
        assert ask() == "completed"
        with pair.replica.client() as new:
            assert int(new.hget("predict_queue:stats", "completed")) == 3
        pair.primary.kill()
        assert ask() == "completed"


def test_a_proxy_whose_redis_takes_no_writes_is_not_ready(own_redis: RedisServer) -> None:
    with Proxy(own_redis.url) as proxy, own_redis.client() as client:
        wait_until(lambda: httpx.get(f"{proxy.url}/readyz").status_code == 200)
        client.execute_command("REPLICAOF", "127.0.0.1", "1")
        assert {httpx.get(f"{proxy.url}{path}").status_code for path in ("/readyz", "/health")} == {503}
        client.execute_command("REPLICAOF", "NO", "ONE")
        wait_until(lambda: httpx.get(f"{proxy.url}/readyz").status_code == 200)


@pytest.mark.parametrize("own_connection", [False, True])
def test_every_call_goes_on_with_the_new_primary(pair: Pair, own_connection: bool) -> None:
    client = connect(RedisSettings(redis_url=pair.url))
    if own_connection:
        client = client.client()
    queue = RedisJobQueue(client, "predict_queue", QueuePolicy())
    submit_jobs(queue, 3)
    (job,) = claim(queue, 1)
    pair.fail_over()
    queue.finish([Completed(job, b"1")])
    assert len(claim(queue, 10)) == 2
    with pair.replica.client() as new:
        assert new.hget("predict_queue:stats", "completed") == b"1"
    client.close()


def test_who_waits_when_redis_is_emptied_is_told_so_and_the_next_is_served(own_redis: RedisServer) -> None:
    with (
        Worker(own_redis.url) as worker,
        Proxy(own_redis.url) as proxy,
        own_redis.client() as client,
        httpx.Client(base_url=proxy.url, timeout=30) as http,
    ):
        wait_until(lambda: http.get("/v2/models/iris").is_success, what="the model")
        job = http.post("/predict", json=FLOWER, headers={"Prefer": "wait=20"}).json()
        worker.send(signal.SIGSTOP)
        with ThreadPoolExecutor(3) as pool:
            prefer = {"Prefer": "wait=20"}
            waiting = [pool.submit(http.post, "/predict", json=FLOWER, headers=prefer)]
            waiting += [pool.submit(http.post, "/v2/models/iris/infer", json=INFER)]
            job_id = http.post("/predict", json=FLOWER).json()["job_id"]
            waiting += [pool.submit(http.get, f"/job/{job_id}", params={"wait": "20"})]
            gauge = "inferqueue_waiting_clients 3.0"
            wait_until(lambda: gauge in httpx.get(proxy.metrics_url).text, what="three who wait")
            submitted = 'inferqueue_queue_jobs_total{event="submitted",queue="predict_queue"} 4.0'
            wait_until(lambda: submitted in httpx.get(proxy.metrics_url).text, what="a look at four jobs")
            client.flushall()
            answers = [one.result() for one in waiting]
        assert [answer.status_code for answer in answers] == [410] * 3
        assert "send the data again" in answers[0].json()["detail"]
        wait_until(lambda: proxy.line("Redis has lost what it had acknowledged"), what="a line in the log")
        loss = 'inferqueue_redis_losses_total{queue="predict_queue"} 1.0'
        wait_until(lambda: loss in httpx.get(proxy.metrics_url).text, what="the metric")
        worker.send(signal.SIGCONT)
        wait_until(lambda: http.get("/v2/models/iris").is_success, 10, what="the model, published again")
        again = http.post("/predict", json=FLOWER, headers={"Prefer": "wait=20"}).json()
        assert again["result"] == job["result"]


def test_a_redis_that_comes_back_without_its_file_is_told(own_redis: RedisServer) -> None:
    with Proxy(own_redis.url) as proxy, httpx.Client(base_url=proxy.url, timeout=30) as http:
        assert http.post("/predict", json={"data": 1}).status_code == 202
        submitted = 'inferqueue_queue_jobs_total{event="submitted",queue="predict_queue"} 1.0'
        wait_until(lambda: submitted in httpx.get(proxy.metrics_url).text, what="a look at the job")
        own_redis.kill()
        wait_until(lambda: "inferqueue_redis_up 0.0" in httpx.get(proxy.metrics_url).text, what="the outage")
        shutil.rmtree(own_redis.folder / "appendonlydir")
        own_redis.start()
        wait_until(lambda: proxy.line("Redis has lost what it had acknowledged"), what="a line in the log")


def test_a_policy_that_is_set_later_makes_a_proxy_unready(own_redis: RedisServer) -> None:
    with Proxy(own_redis.url) as proxy, own_redis.client() as client:
        wait_until(lambda: httpx.get(f"{proxy.url}/readyz").status_code == 200)
        client.config_set("maxmemory-policy", "allkeys-lru")
        wait_until(lambda: httpx.get(f"{proxy.url}/readyz").status_code == 503, what="readiness to end")
        assert "'allkeys-lru' and may evict" in httpx.get(f"{proxy.url}/readyz").json()["detail"]
        assert "inferqueue_redis_suitable 0.0" in httpx.get(proxy.metrics_url).text
        client.config_set("maxmemory-policy", "noeviction")
        wait_until(lambda: httpx.get(f"{proxy.url}/readyz").status_code == 200, what="readiness")


def test_a_redis_that_keeps_nothing_on_a_disk_is_told(own_redis: RedisServer) -> None:
    with Proxy(own_redis.url) as proxy, own_redis.client() as client:
        wait_until(lambda: "inferqueue_redis_persists 1.0" in httpx.get(proxy.metrics_url).text)
        assert proxy.line("Redis keeps nothing on a disk") is None
        client.config_set("appendonly", "no")
        wait_until(lambda: "inferqueue_redis_persists 0.0" in httpx.get(proxy.metrics_url).text)
        assert proxy.line("Redis keeps nothing on a disk") is not None
