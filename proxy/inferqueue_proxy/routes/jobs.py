"""`GET /job/{id}` and `DELETE /job/{id}`."""

import re

import orjson
from starlette.requests import Request
from starlette.responses import Response

from inferqueue_core.jobs import CancelOutcome, Job
from inferqueue_core.keys import JOB_ID_PATTERN
from inferqueue_proxy.bodies import INLINE_BYTES, off_loop
from inferqueue_proxy.prefer import Wait, read_prefer, read_wait_parameter
from inferqueue_proxy.problems import Problem
from inferqueue_proxy.results import job_json
from inferqueue_proxy.services import services_of

_job_id = re.compile(JOB_ID_PATTERN)


async def job(request: Request) -> Response:
    """Answer GET and DELETE, which share their path."""
    return await (cancel_job if request.method == "DELETE" else read_job)(request)


async def read_job(request: Request) -> Response:
    services = services_of(request)
    job_id = _read_id(request)
    wait = _read_wait(request)
    found = await services.queues.job(job_id)
    if found is not None and wait.seconds and not found.status.is_final:
        with services.waiting.watch(job_id) as watch:
            found = await watch.ended(wait.seconds, found, request.is_disconnected)
    if found is None:
        raise _unknown(job_id)
    return Response(await render(found), 200, wait.headers, "application/json")


async def cancel_job(request: Request) -> Response:
    services = services_of(request)
    job_id = _read_id(request)
    outcome = await (await services.queues.of_job(job_id)).client.cancel(job_id)
    return _canceled(job_id, outcome)


def _canceled(job_id: str, outcome: CancelOutcome) -> Response:
    match outcome.kind:
        case "canceled":
            return Response(orjson.dumps({"job_id": job_id, "status": "canceled"}), 200, None, "application/json")
        case "requested":
            document = {"job_id": job_id, "status": "processing", "cancel_requested": True}
            return Response(orjson.dumps(document), 202, {"Location": f"/job/{job_id}"}, "application/json")
        case "ended":
            raise Problem("job-ended", f"job {job_id} is {outcome.status} already; what has ended cannot be canceled")
    raise _unknown(job_id)


async def render(found: Job) -> bytes:
    """Write a job as JSON, a large one without holding up others."""
    size = 0 if found.result is None else len(found.result)
    return await off_loop(size * 4 if size < INLINE_BYTES else size, job_json, found)


def _read_id(request: Request) -> str:
    job_id: str = request.path_params["job_id"]
    if not _job_id.fullmatch(job_id):
        raise Problem("unknown-job", f"{job_id[:80]!r} is not a job id; take it from the answer to POST /predict")
    return job_id


def _read_wait(request: Request) -> Wait:
    asked = read_prefer(request.headers.getlist("prefer"))
    parameter = request.query_params.get("wait")
    if parameter is not None:
        return asked if asked.seconds else read_wait_parameter(parameter)
    return asked


def _unknown(job_id: str) -> Problem:
    return Problem("unknown-job", f"there is no job {job_id!r}, or no longer: results are kept for JOB_TTL seconds")
