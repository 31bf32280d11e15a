"""Fixtures that every test may use: real Redis servers, and the check that jobs leave nothing behind."""

import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from inferqueue_core.connection import connect
from inferqueue_core.policy import QueuePolicy
from inferqueue_core.queue import RedisJobQueue
from inferqueue_core.queue_settings import RedisSettings
from support.key_leaks import leaked_keys
from support.redis_servers import RedisServer

# On a busy machine any example may take long, and what fails must fail again when it is run again: examples that nobody
# has seen yet are for `make test-long`.
settings.register_profile("calm", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
settings.register_profile("explore", settings.get_profile("calm"), derandomize=False, max_examples=2_000)
settings.load_profile("calm")


def pytest_configure() -> None:
    """Let the programs under test hear Ctrl-C also where a script runs all this in its background, which ignores it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def _shared_redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def redis_server(_shared_redis: RedisServer) -> Iterator[RedisServer]:
    """A running Redis, empty, not to be stopped; afterwards nothing that is not owed may be left without an end."""
    with _shared_redis.client() as client:
        client.flushall()
        yield _shared_redis
        leaks = leaked_keys(client)
        client.flushall()
    assert leaks == [], f"keys that stay without an end: {leaks[:10]}"


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A Redis of the test's own, which it may kill, start again and configure."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def redis_settings(redis_server: RedisServer) -> RedisSettings:
    return RedisSettings(redis_url=redis_server.url)


@pytest.fixture
def queue(redis_settings: RedisSettings) -> Iterator[RedisJobQueue]:
    """A queue named `predict_queue` on the shared Redis, with the default policy."""
    client = connect(redis_settings)
    yield RedisJobQueue(client, "predict_queue", QueuePolicy())
    client.close()
