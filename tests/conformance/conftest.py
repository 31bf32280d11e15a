"""A Redis and a proxy that stand for the whole session; workers come and go."""

from collections.abc import Iterator

import httpx
import pytest

from inferqueue_core.queue_settings import RedisSettings
from support.programs import Proxy
from support.redis_servers import RedisServer


@pytest.fixture(scope="session")
def lasting_redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def proxy(lasting_redis: RedisServer) -> Iterator[Proxy]:
    with Proxy(lasting_redis.url, MAX_BODY_BYTES=str(64 << 20)) as running:
        yield running


@pytest.fixture(scope="session")
def http(proxy: Proxy) -> Iterator[httpx.Client]:
    """A client of the proxy; safe for several threads."""
    limits = httpx.Limits(max_connections=100, max_keepalive_connections=100)
    with httpx.Client(base_url=proxy.url, timeout=60, limits=limits) as client:
        yield client


@pytest.fixture(scope="session")
def redis_settings_of_proxy(lasting_redis: RedisServer) -> RedisSettings:
    return RedisSettings(redis_url=lasting_redis.url)
