"""`POST /predict/batch`: up to a thousand jobs at once, all accepted or none."""

from collections.abc import Sequence
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from inferqueue_core.ids import new_job_id
from inferqueue_core.jobs import NewJob, Submission
from inferqueue_core.models import ModelInfo
from inferqueue_proxy.bodies import check_content_type, off_loop, parse_json, read_body
from inferqueue_proxy.catalog import Catalog
from inferqueue_proxy.idempotency import bind
from inferqueue_proxy.json_texts import without_mark
from inferqueue_proxy.orders import MAX_JOBS, Order, make_job, read_order
from inferqueue_proxy.problems import CatalogProblem, Problem, invalid
from inferqueue_proxy.routes.predict import client_of
from inferqueue_proxy.services import Services, services_of
from inferqueue_proxy.submitting import Placed, place

LINE_TYPES = ("application/x-ndjson", "application/jsonl")


async def predict_batch(request: Request) -> Response:
    services = services_of(request)
    media_type = check_content_type(request, ("application/json", *LINE_TYPES))
    body = await read_body(request, services.settings.max_body_bytes)
    values = await off_loop(len(body), _parse_lines if media_type in LINE_TYPES else _parse_array, body)
    orders = [read_order(value, f"[{index}].") for index, value in enumerate(values)]
    made = await services.monitor.confirm(_make_jobs, services, orders, len(body))
    queue = services.queues.get(_queue_name([model for model, _ in made], services))
    key = request.headers.get("idempotency-key")
    idempotency = await off_loop(len(body), bind, key, client_of(request), "/predict/batch", values)
    return _accepted(await place(services, queue, Submission(tuple(job for _, job in made), idempotency)))


def _accepted(placed: Placed) -> Response:
    headers = {"Retry-After": "1"} | ({"Idempotent-Replayed": "true"} if placed.replayed else {})
    return Response(orjson.dumps({"job_ids": placed.job_ids}), 202, headers, "application/json")


def _parse_array(body: bytes) -> list[Any]:
    values = parse_json(body)
    if not isinstance(values, list):
        raise invalid("body", "it must be a JSON array of job bodies, or one a line as application/x-ndjson")
    return _counted(values)


def _parse_lines(body: bytes) -> list[Any]:
    lines = [line for line in without_mark(body).splitlines() if line.strip()]
    _counted(lines)
    values = []
    for index, line in enumerate(lines):
        try:
            values.append(orjson.loads(line))
        except orjson.JSONDecodeError as error:
            raise Problem("malformed-body", f"[{index}]: the line is not JSON: {error}") from None
    return values


def _counted(values: list[Any]) -> list[Any]:
    if not 1 <= len(values) <= MAX_JOBS:
        raise invalid("body", f"it holds {len(values)} jobs; send 1 to {MAX_JOBS} in one request")
    return values


async def _make_jobs(services: Services, orders: list[Order], size: int) -> list[tuple[ModelInfo | None, NewJob]]:
    candidates = [_candidates(services.catalog, order) for order in orders]

    def make() -> list[tuple[ModelInfo | None, NewJob]]:
        return [make_job(new_job_id(), order, models) for order, models in zip(orders, candidates, strict=True)]

    return await off_loop(size, make)


def _candidates(catalog: Catalog, order: Order) -> Sequence[ModelInfo]:
    try:
        return catalog.ordered(order.model, order.version)
    except CatalogProblem as problem:
        raise CatalogProblem(problem.kind, f"{order.place}model: {problem.detail}") from None


def _queue_name(models: list[ModelInfo | None], services: Services) -> str:
    default = services.queues.default.name
    names = [default if model is None else model.queue for model in models]
    for index, name in enumerate(names):
        if name != names[0]:
            raise invalid(
                f"[{index}].model",
                f"its queue is {name!r}, that of the first job is {names[0]!r}; send jobs of one queue in one batch",
            )
    return names[0]
