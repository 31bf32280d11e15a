"""An API server for the whole run, and for each test a namespace, a Redis and an operator of its own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.api_servers import ApiServer, Namespace, api_server
from support.operators import HastyOperator, Operator
from support.redis_servers import RedisServer


@pytest.fixture(scope="session")
def server() -> Iterator[ApiServer]:
    with api_server() as running:
        yield running


@pytest.fixture
def namespace(server: ApiServer) -> Namespace:
    return Namespace(server)


@pytest.fixture
def start_operator(
    namespace: Namespace, redis_server: RedisServer, tmp_path: Path
) -> Iterator[Callable[..., Operator]]:
    """Start operators for the test's namespace; further settings by name."""
    started: list[Operator] = []

    def start(redis_url: str = redis_server.url, kind: type[Operator] = Operator, **settings: str) -> Operator:
        started.append(kind(redis_url, namespace, tmp_path, **settings))
        return started[-1].start()

    yield start
    for operator in started:
        print(operator.output)  # pytest shows it when the test has failed
        operator.close()


@pytest.fixture
def operator(start_operator: Callable[..., Operator]) -> Operator:
    return start_operator()


@pytest.fixture
def hasty_operator(start_operator: Callable[..., Operator]) -> Operator:
    return start_operator(kind=HastyOperator)
