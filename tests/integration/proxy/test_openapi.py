"""The OpenAPI document tells the truth: schemathesis holds the running proxy to it."""

import re
from typing import Any
from uuid import uuid4

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.schemas import BaseSchema

from inferqueue_proxy.app import ROUTES
from inferqueue_proxy.idempotency import HEADER_PATTERN, MAX_LENGTH
from support.programs import Proxy

OPERATIONS = [(method, path) for path, _, methods in ROUTES for method in methods]
CASES = [(GenerationMode.POSITIVE, *operation) for operation in OPERATIONS]
# Elsewhere nothing can be wrong: there are no parameters, or a model's name, for which any text will do.
CASES += [
    (GenerationMode.NEGATIVE, method, path) for method, path in OPERATIONS if method == "POST" or "{job_id}" in path
]


@pytest.fixture(scope="module")
def described(bare_proxy: Proxy) -> BaseSchema:
    return schemathesis.openapi.from_url(f"{bare_proxy.url}/openapi.json")


@pytest.mark.parametrize(("mode", "method", "path"), CASES)
def test_answers_are_as_described(described: BaseSchema, mode: GenerationMode, method: str, path: str) -> None:
    operation = described[path][method]

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=15, suppress_health_check=list(HealthCheck))
    def check(case: "schemathesis.Case[Any]") -> None:
        key = case.headers.get("Idempotency-Key")
        if isinstance(key, str) and len(key) <= MAX_LENGTH and re.match(HEADER_PATTERN, key):
            # A key used twice for different bodies is refused, which the schema of one request cannot say.
            case.headers["Idempotency-Key"] = uuid4().hex
        case.call_and_validate(timeout=30)

    check()


def test_the_documentation_page_is_served(bare: httpx.Client) -> None:
    assert "openapi.json" in bare.get("/docs").text
