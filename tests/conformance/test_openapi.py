"""The OpenAPI document is true of a proxy that serves a model: it describes every answer that schemathesis gets."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.core.result import Ok
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import positive_data_acceptance

from support.programs import Proxy, Worker
from support.redis_servers import RedisServer
from support.waiting import wait_until


@pytest.fixture(scope="module")
def described() -> Iterator[BaseSchema]:
    """A proxy with a worker on Iris, of its own: what is generated here would fill the queues of other tests."""
    with RedisServer() as redis, Worker(redis.url), Proxy(redis.url) as proxy:
        wait_until(lambda: httpx.get(f"{proxy.url}/v2/models/iris").is_success, what="Iris in the catalog")
        yield schemathesis.openapi.from_url(f"{proxy.url}/openapi.json")


def test_every_operation_answers_as_described(described: BaseSchema) -> None:
    operations = [found.ok() for found in described.get_all_operations() if isinstance(found, Ok)]
    assert len(operations) > 10
    for operation in operations:
        strategy = operation.as_strategy()

        @given(case=strategy)
        @settings(max_examples=20, suppress_health_check=list(HealthCheck))
        def check(case: "schemathesis.Case[Any]") -> None:
            if "model" in case.path_parameters:
                case.path_parameters["model"] = "iris"
            if "Idempotency-Key" in case.headers:
                # A key used twice for different bodies is refused, which the schema of one request cannot say.
                case.headers["Idempotency-Key"] = uuid4().hex
            # Which data a model takes is not the document's to say: tests of the bare proxy hold it to its schemas.
            case.call_and_validate(timeout=30, excluded_checks=[positive_data_acceptance])

        check()
