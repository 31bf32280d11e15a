"""Links to queues: addresses from Secrets, and TLS."""

import asyncio
import base64
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from inferqueue_core.queue_settings import RedisSettings
from inferqueue_core.scaling import Memory
from inferqueue_operator import links
from inferqueue_operator.errors import SpecError, UnreadableError
from inferqueue_operator.links import Linker
from inferqueue_operator.resource import Identity, QueueRef
from inferqueue_operator.servers import RedisServers
from support.redis_servers import RedisServer
from support.tls import Authority, TlsFront

OWNER = Identity("test", "iris", "1")


class Secrets:
    """The part of the cluster that a link needs: one Secret, which a test may change."""

    def __init__(self, **data: str) -> None:
        self.data = data

    async def secret(self, namespace: str, name: str) -> Mapping[str, str]:
        return {key: base64.b64encode(text.encode()).decode() for key, text in self.data.items()}


def linker(secrets: Secrets) -> tuple[Linker, RedisServers]:
    servers = RedisServers(RedisSettings(redis_url="redis://127.0.0.1:1"))
    made = Linker(secrets, servers, OWNER, lambda _: None)  # type: ignore[arg-type]  # the one method that it uses
    return made, servers


def reference(**secret: str) -> QueueRef:
    return QueueRef.model_validate({"name": "predict_queue", "redis": {"secretRef": {"name": "redis"} | secret}})


async def length(made: Linker, queue: QueueRef) -> int:
    link = await made.connect(queue)
    observation, _ = await link.look("", Memory())
    return observation.length


def test_a_secret_that_changes_is_followed(
    redis_server: RedisServer, own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "_SECRET_SECONDS", 0.0)
    with redis_server.client() as first, own_redis.client() as second:
        first.lpush("predict_queue", "a")
        first.sadd("predict_queue:retired", "worker-1")
        second.lpush("predict_queue", "b", "c")

    async def run() -> None:
        secrets = Secrets(url=redis_server.url)
        made, servers = linker(secrets)
        assert await length(made, reference()) == 1
        secrets.data = {"url": own_redis.url}
        assert await length(made, reference()) == 2
        secrets.data = {"url": "http://nowhere"}
        with pytest.raises(SpecError, match="the address of Redis cannot be used"):
            await made.connect(reference())
        secrets.data = {"url": redis_server.url}
        assert await length(made, reference()) == 1
        await made.disconnect(for_good=True)
        await servers.close()

    asyncio.run(run())
    with redis_server.client() as first:
        assert first.smembers("predict_queue:retired") == set()


def test_a_secret_is_read_again_soon_when_what_it_told_no_longer_works(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "_DOUBTED_SECONDS", 0.0)

    async def run() -> None:
        secrets = Secrets(url=redis_server.url)
        made, servers = linker(secrets)
        await length(made, reference())
        secrets.data = {"url": "redis://elsewhere"}
        assert str(await made.connect(reference())).startswith("queue predict_queue at unix:")
        made.doubt()
        assert str(await made.connect(reference())) == "queue predict_queue at redis://elsewhere"
        await made.disconnect(for_good=False)
        await servers.close()

    asyncio.run(run())


def test_who_follows_a_queue_is_known_however_its_address_is_written() -> None:
    async def run() -> None:
        servers = RedisServers(RedisSettings(redis_host="Redis.example"))
        made = {}
        for name, address in (
            ("own", None),
            ("same", "redis://redis.example:6379/0"),
            ("other", "redis://redis.example/1"),
            ("another", "redis://redis.example?db=2"),
        ):
            redis = {} if address is None else {"redis": {"url": address}}
            queue = QueueRef.model_validate({"name": "predict_queue"} | redis)
            owner = Linker(Secrets(), servers, Identity("test", name, name), lambda _: None)  # type: ignore[arg-type]
            made[name] = await owner.connect(queue)
        assert {name: link.rivals for name, link in made.items()} == {
            "own": ["test/same"],
            "same": ["test/own"],
            "other": [],
            "another": [],
        }
        await made["own"].close()
        assert made["same"].rivals == []
        await servers.close()

    asyncio.run(run())


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def tls_url(redis_server: RedisServer, authority: Authority) -> Iterator[str]:
    with TlsFront(redis_server.socket, authority) as front:
        yield f"rediss://127.0.0.1:{front.port}/0"


def test_the_secret_may_hold_the_authorities_of_a_tls_server(tls_url: str, authority: Authority) -> None:
    async def run() -> None:
        made, servers = linker(Secrets(url=tls_url, **{"ca.crt": authority.ca.read_text()}))
        assert await length(made, reference(caKey="ca.crt")) == 0
        await made.disconnect(for_good=True)
        with pytest.raises(UnreadableError, match="CERTIFICATE_VERIFY_FAILED"):
            await length(made, reference())
        with pytest.raises(SpecError, match="Secret redis has no key tls"):
            await made.connect(reference(caKey="tls"))
        await servers.close()

    asyncio.run(run())


def test_authorities_without_tls_are_a_mistake(redis_server: RedisServer) -> None:
    async def run() -> None:
        made, servers = linker(Secrets(url=redis_server.url, ca="-----BEGIN CERTIFICATE-----"))
        with pytest.raises(SpecError, match="does not begin with rediss://"):
            await made.connect(reference(caKey="ca"))
        await servers.close()

    asyncio.run(run())
