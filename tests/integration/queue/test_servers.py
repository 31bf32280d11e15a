"""Servers of every kind: with passwords, ACL users and TLS, as a Cluster, behind Sentinels, and unsuitable ones."""

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from inferqueue_core.async_queue import AsyncRedisJobQueue
from inferqueue_core.connection import connect, connect_async
from inferqueue_core.errors import QueueUnavailableError, QueueUnsuitableError
from inferqueue_core.jobs import CancelOutcome, FinishOutcome, GiveBack, WorkerReport
from inferqueue_core.policy import QueuePolicy
from inferqueue_core.queue import RedisJobQueue
from inferqueue_core.queue_settings import RedisSettings
from support.jobs import WORKER, claim, complete, submit_jobs
from support.ports import free_port
from support.redis_servers import RedisServer, server_program
from support.tls import Authority, TlsFront
from support.waiting import wait_until


def open_queue(settings: RedisSettings) -> RedisJobQueue:
    client = connect(settings)
    return RedisJobQueue(client, "predict_queue", QueuePolicy(), prefix=settings.key_prefix)


def settings_for(**values: object) -> RedisSettings:
    return RedisSettings.checked(**values)


def use(queue: RedisJobQueue) -> None:
    """Do one of everything."""
    queue.check()
    submit_jobs(queue, 4, deadline_seconds=60)
    jobs = claim(queue, 3)
    queue.extend(WORKER, WorkerReport(), jobs)
    assert complete(queue, jobs[:1]) == [FinishOutcome.STORED]
    queue.retry([GiveBack(jobs[1])])
    assert queue.cancel(jobs[1].id) == CancelOutcome("canceled")
    queue.reap()
    queue.wait(0.01)
    queue.retire(["idle"])
    queue.unretire(["idle"])
    queue.redrive(["nobody"])
    observation = queue.observe(1)
    assert (observation.in_flight, observation.length) == (1, 1)
    queue.forget_worker(WORKER)
    queue.models()


async def use_async(settings: RedisSettings) -> int:
    client = connect_async(settings)
    queue = AsyncRedisJobQueue(client, "predict_queue", QueuePolicy(), prefix=settings.key_prefix)
    try:
        await queue.check()
        return (await queue.observe()).in_flight
    finally:
        await client.aclose()
        # redis-py leaves its connections to the Sentinels open until the program ends.
        manager = getattr(client.connection_pool, "sentinel_manager", None)
        for sentinel in manager.sentinels if manager else ():
            await sentinel.aclose()


class TestPasswords:
    @pytest.fixture
    def server(self) -> Iterator[RedisServer]:
        with RedisServer("--requirepass", "right") as server:
            yield server

    def test_the_right_one_opens(self, server: RedisServer) -> None:
        settings = settings_for(redis_url=server.url, redis_password="right")
        use(open_queue(settings))
        assert asyncio.run(use_async(settings)) == 1

    @pytest.mark.parametrize("password", [None, "wrong"])
    def test_another_or_none_is_named(self, server: RedisServer, password: str | None) -> None:
        settings = settings_for(redis_url=server.url, redis_password=password)
        with pytest.raises(QueueUnsuitableError, match="REDIS_PASSWORD"):
            open_queue(settings).check()
        with pytest.raises(QueueUnsuitableError, match="REDIS_PASSWORD"):
            asyncio.run(use_async(settings))

    def test_an_acl_user_with_our_keys_is_enough(self, server: RedisServer) -> None:
        with server.client(password="right") as admin:
            rights = (
                "on",
                ">pw",
                "~predict_queue*",
                "~job:*",
                "~models",
                "~idem:*",
                "&*",
                "+@all",
                "-@admin",
                "-@dangerous",
            )
            admin.execute_command("ACL", "SETUSER", "app", *rights, "+info")
        use(open_queue(settings_for(redis_url=server.url, redis_username="app", redis_password="pw")))

    def test_an_acl_user_without_rights_is_told_so(self, server: RedisServer) -> None:
        with server.client(password="right") as admin:
            admin.execute_command("ACL", "SETUSER", "reader", "on", ">pw", "~*", "+@read", "+info")
        queue = open_queue(settings_for(redis_url=server.url, redis_username="reader", redis_password="pw"))
        queue.check()
        with pytest.raises(QueueUnsuitableError, match="the ACL"):
            submit_jobs(queue)


class TestTls:
    @pytest.fixture
    def authority(self, tmp_path: Path) -> Authority:
        return Authority(tmp_path)

    def test_a_known_authority_is_trusted(self, redis_server: RedisServer, authority: Authority) -> None:
        with TlsFront(redis_server.socket, authority) as front:
            url = f"rediss://127.0.0.1:{front.port}/0"
            settings = settings_for(redis_url=url, redis_tls_ca_file=authority.ca)
            queue = open_queue(settings)
            use(queue)
            queue._redis.close()
            assert asyncio.run(use_async(settings)) == 1

    def test_an_unknown_authority_is_not(self, redis_server: RedisServer, authority: Authority) -> None:
        with TlsFront(redis_server.socket, authority) as front:
            queue = open_queue(settings_for(redis_url=f"rediss://127.0.0.1:{front.port}/0"))
            with pytest.raises(QueueUnavailableError, match="certificate verify failed"):
                queue.check()


class TestCluster:
    @pytest.fixture
    def server(self) -> Iterator[RedisServer]:
        with RedisServer("--cluster-enabled", "yes", "--port", str(free_port(20_000))) as server:
            with server.client() as client:
                client.execute_command("CLUSTER", "ADDSLOTS", *range(16_384))
                wait_until(lambda: b"cluster_state:ok" in str(client.execute_command("CLUSTER", "INFO")).encode())
            yield server

    def test_without_a_hash_tag_it_is_refused(self, server: RedisServer) -> None:
        with pytest.raises(QueueUnsuitableError, match="KEY_PREFIX is ''"):
            open_queue(settings_for(redis_url=server.url)).check()

    def test_with_a_hash_tag_everything_works(self, server: RedisServer) -> None:
        settings = settings_for(redis_url=server.url, key_prefix="{iq}:")
        use(open_queue(settings))
        assert asyncio.run(use_async(settings)) == 1
        with server.client() as client:
            assert all(key.startswith(b"{iq}:") for key in client.scan_iter())


def test_a_server_that_may_evict_is_refused() -> None:
    with RedisServer("--maxmemory-policy", "allkeys-lru") as server:
        with pytest.raises(QueueUnsuitableError, match="'allkeys-lru' and may evict"):
            open_queue(settings_for(redis_url=server.url)).check()
        with pytest.raises(QueueUnsuitableError, match="'allkeys-lru' and may evict"):
            asyncio.run(use_async(settings_for(redis_url=server.url)))


def test_a_replica_is_waited_for_not_died_of(own_redis: RedisServer) -> None:
    queue = open_queue(settings_for(redis_url=own_redis.url))
    with own_redis.client() as client:
        client.execute_command("REPLICAOF", "127.0.0.1", "1")
        with pytest.raises(QueueUnavailableError, match="takes no writes now"):
            submit_jobs(queue)
        client.execute_command("REPLICAOF", "NO", "ONE")
    submit_jobs(queue)


class TestSentinel:
    @pytest.fixture
    def ports(self) -> tuple[int, int, int]:
        return free_port(), free_port(), free_port()

    @pytest.fixture
    def master(self, ports: tuple[int, int, int]) -> Iterator[RedisServer]:
        with RedisServer("--port", str(ports[0])) as server:
            yield server

    @pytest.fixture
    def settings(self, ports: tuple[int, int, int], master: RedisServer, tmp_path: Path) -> Iterator[RedisSettings]:
        """Settings for a master with a replica, watched by one Sentinel that takes a master for dead after a minute."""
        replica_of = ("--replicaof", "127.0.0.1", str(ports[0]), "--repl-diskless-sync-delay", "0")
        configuration = tmp_path / "sentinel.conf"
        configuration.write_text(
            f"port {ports[2]}\n"
            f"sentinel monitor main 127.0.0.1 {ports[0]} 1\n"
            "sentinel down-after-milliseconds main 60000\n"
            "sentinel failover-timeout main 3000\n"
        )
        with RedisServer("--port", str(ports[1]), *replica_of), Sentinel(configuration, ports[2]) as sentinel:
            wait_until(lambda: sentinel.sentinel_slaves("main"), what="a replica that the Sentinel knows")
            with master.client() as client:
                wait_until(lambda: client.wait(1, 100) == 1, what="a replica in step")
            yield settings_for(redis_sentinels=f"127.0.0.1:{ports[2]}", redis_sentinel_master="main")

    @pytest.mark.timeout(60)
    def test_the_master_is_found_and_found_again_after_a_failover(
        self, settings: RedisSettings, master: RedisServer, ports: tuple[int, int, int]
    ) -> None:
        client = connect(settings)
        queue = RedisJobQueue(client, "predict_queue", QueuePolicy(), patience=30)
        use(queue)
        assert asyncio.run(use_async(settings)) == 1
        with master.client() as direct:
            direct.set("last", "word", ex=60)  # WAIT is for what its own connection has written
            wait_until(lambda: direct.wait(1, 1000) == 1, what="the replica to have it all")
        master.kill()
        with redis.Redis(port=ports[2], protocol=2) as sentinel:
            sentinel.sentinel_set("main", "down-after-milliseconds", 500)
        assert queue.observe().in_flight == 1
        submit_jobs(queue)
        assert queue.observe().length == 2
        client.close()
        manager = client.connection_pool.sentinel_manager  # type: ignore[attr-defined]
        for known in manager.sentinels:  # as above, redis-py leaves them open
            known.close()


class Sentinel:
    """A Sentinel as a process; entering it gives a client of it."""

    def __init__(self, configuration: Path, port: int) -> None:
        self._server = RedisServer()
        self._configuration = configuration
        self._port = port

    def __enter__(self) -> redis.Redis:
        self._process = subprocess.Popen(
            [server_program(), str(self._configuration), "--sentinel"], stdout=subprocess.DEVNULL
        )
        self._client = redis.Redis(port=self._port, protocol=2)

        def answers() -> bool:
            try:
                return bool(self._client.ping())
            except redis.RedisError:
                return False

        wait_until(answers, what="answer of the Sentinel")
        return self._client

    def __exit__(self, *reason: object) -> None:
        self._client.close()
        self._process.kill()
        self._process.wait()
        self._server.close()
