"""Running proxies: one without workers or models, one with a worker that serves Iris."""

from collections.abc import Iterator

import httpx
import pytest

from support.programs import Proxy, Worker
from support.redis_servers import RedisServer
from support.waiting import wait_until


@pytest.fixture(scope="module")
def bare_redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module")
def bare_proxy(bare_redis: RedisServer) -> Iterator[Proxy]:
    """A proxy whose queue nobody works on, and which knows no model."""
    with Proxy(bare_redis.url, MAX_BODY_BYTES="200000") as proxy:
        yield proxy


@pytest.fixture
def bare(bare_proxy: Proxy) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=bare_proxy.url) as client:
        yield client


@pytest.fixture(scope="module")
def iris_proxy() -> Iterator[Proxy]:
    """A proxy whose default model is Iris, with one worker."""
    with RedisServer() as redis, Worker(redis.url), Proxy(redis.url, MAX_BODY_BYTES="1000000") as proxy:
        wait_until(lambda: httpx.get(f"{proxy.url}/v2/models/iris").is_success, what="Iris in the catalog")
        yield proxy


@pytest.fixture
def iris(iris_proxy: Proxy) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=iris_proxy.url, timeout=30) as client:
        yield client
