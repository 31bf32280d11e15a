"""The OpenAPI document tells the truth: schemathesis holds the running proxy to it."""

import re
from typing import Any
from uuid import uuid4

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import CheckFunction, GenerationMode
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from inferqueue_proxy.app import ROUTES
from inferqueue_proxy.idempotency import HEADER_PATTERN, MAX_LENGTH
from inferqueue_proxy.openapi import document
from support.programs import Proxy

OPERATIONS = [(method, path) for path, _, methods in ROUTES for method in methods]
CASES = [(GenerationMode.POSITIVE, *operation) for operation in OPERATIONS]
# Elsewhere nothing can be wrong: there are no parameters, or a model's name, for which any text will do.
PATHS = document("1", keys_required=False)["paths"]
CASES += [
    (GenerationMode.NEGATIVE, method, path)
    for method, path in OPERATIONS
    if "requestBody" in PATHS[path][method.lower()] or "{job_id}" in path
]

ABOUT_DATA: list[CheckFunction] = [positive_data_acceptance, negative_data_rejection]


@pytest.fixture(scope="module")
def described(bare_proxy: Proxy) -> BaseSchema:
    return schemathesis.openapi.from_url(f"{bare_proxy.url}/openapi.json")


@pytest.mark.parametrize(("mode", "method", "path"), CASES)
def test_answers_are_as_described(described: BaseSchema, mode: GenerationMode, method: str, path: str) -> None:
    operation = described[path][method]
    # Whatever comes: what Triton can do and the proxy does not.
    only_refused = all(status.startswith("4") for status in PATHS[path][method.lower()]["responses"])

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=15, suppress_health_check=list(HealthCheck))
    def check(case: "schemathesis.Case[Any]") -> None:
        key = case.headers.get("Idempotency-Key")
        if isinstance(key, str) and len(key) <= MAX_LENGTH and re.match(HEADER_PATTERN, key):
            # A key used twice for different bodies is refused, which the schema of one request cannot say.
            case.headers["Idempotency-Key"] = uuid4().hex
        response = case.call(timeout=30)
        # How large a body may be is a setting of the proxy: data of either kind may be beyond it.
        too_large = response.status_code == 413
        case.validate_response(response, excluded_checks=ABOUT_DATA if too_large or only_refused else [])

    check()


def test_the_documentation_page_is_served(bare: httpx.Client) -> None:
    assert "openapi.json" in bare.get("/docs").text
