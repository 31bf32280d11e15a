"""`POST /predict/batch`: up to a thousand jobs at once, all accepted or none."""

from collections.abc import Callable, Sequence
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
from inferqueue_proxy.orders import MAX_JOBS, make_job, read_order
from inferqueue_proxy.problems import CatalogProblem, FieldError, Problem, invalid
from inferqueue_proxy.queues import Queue
from inferqueue_proxy.routes.predict import client_of
from inferqueue_proxy.services import Services, services_of
from inferqueue_proxy.submitting import Placed, place

LINE_TYPES = ("application/x-ndjson", "application/jsonl")


async def predict_batch(request: Request) -> Response:
    services = services_of(request)
    media_type = check_content_type(request, ("application/json", *LINE_TYPES))
    parse = _parse_lines if media_type in LINE_TYPES else _parse_array

    async def submit(body: bytes) -> Placed:
        return await place(services, *await _read(request, services, body, parse))

    return _accepted(await read_body(request, services.bodies, submit))


async def _read(
    request: Request, services: Services, body: bytes, parse: Callable[[bytes], list[Any]]
) -> tuple[Queue, Submission]:
    values = await off_loop(len(body), parse, body)
    made = await services.monitor.confirm(off_loop, len(body), _make_jobs, services.catalog, values)
    queue = services.queues.get(_queue_name([model for model, _ in made], services))
    key = request.headers.get("idempotency-key")
    idempotency = await off_loop(len(body), bind, key, client_of(request), "/predict/batch", values)
    return queue, Submission(tuple(job for _, job in made), idempotency)


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
    return [_parse_line(line, f"[{index}]") for index, line in enumerate(lines)]


def _parse_line(line: bytes, place: str) -> Any:
    """Return what a line says; for one that is not JSON the problem, which is raised together with all others."""
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        message = f"the line is not JSON: {error}"
        return Problem("malformed-body", f"{place}: {message}", errors=[FieldError(place, message)])


def _counted(values: list[Any]) -> list[Any]:
    if not 1 <= len(values) <= MAX_JOBS:
        raise invalid("body", f"it holds {len(values)} jobs; send 1 to {MAX_JOBS} in one request")
    return values


def _make_jobs(catalog: Catalog, values: list[Any]) -> list[tuple[ModelInfo | None, NewJob]]:
    """Return each job with its model; raise one Problem that names all that cannot be made."""
    made: list[tuple[ModelInfo | None, NewJob]] = []
    problems: list[Problem] = []
    for index, value in enumerate(values):
        try:
            made.append(_make_job(catalog, value, f"[{index}]."))
        except Problem as problem:
            problems.append(problem)
    if problems:
        raise _together(problems)
    return made


def _make_job(catalog: Catalog, value: Any, place: str) -> tuple[ModelInfo | None, NewJob]:
    if isinstance(value, Problem):
        raise value
    order = read_order(value, place)
    try:
        models = catalog.ordered(order.model, order.version)
    except CatalogProblem as problem:
        error = FieldError(f"{place}model", problem.detail)
        raise CatalogProblem(problem.kind, f"{error.field}: {error.message}", errors=[error]) from None
    return make_job(new_job_id(), order, models)


def _together(problems: Sequence[Problem]) -> Problem:
    """Return one problem for several: of the kind of the first, with the errors of all."""
    first, *others = problems
    if not others:
        return first
    make = CatalogProblem if any(isinstance(problem, CatalogProblem) for problem in problems) else Problem
    detail = f"{first.detail}; {len(others)} more of the jobs cannot be taken, see errors"
    return make(first.kind, detail, errors=[error for problem in problems for error in problem.errors])


def _queue_name(models: list[ModelInfo | None], services: Services) -> str:
    default = services.queues.default.name
    names = [default if model is None else model.queue for model in models]
    others = [
        invalid(
            f"[{index}].model",
            f"its queue is {name!r}, that of the first job is {names[0]!r}; send jobs of one queue in one batch",
        )
        for index, name in enumerate(names)
        if name != names[0]
    ]
    if others:
        raise _together(others)
    return names[0]
