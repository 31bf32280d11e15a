"""`/v2/…`: the Open Inference Protocol, with jobs in the queue behind it."""

import gzip
import time
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.metadata import version

import orjson
from starlette.requests import Request
from starlette.responses import Response

from inferqueue_core.errors import InvalidInputError
from inferqueue_core.ids import new_job_id
from inferqueue_core.jobs import Job, JobStatus, NewJob, RanModel, Submission
from inferqueue_core.models import ModelInfo
from inferqueue_core.tensors import decode_envelope, encode_envelope, is_envelope
from inferqueue_proxy.bodies import check_content_type, off_loop, parse_json, read_body
from inferqueue_proxy.catalog import Catalog
from inferqueue_proxy.oip import EXTENSIONS, InferRequest, decode_request, encode_response, model_metadata
from inferqueue_proxy.orders import target_of
from inferqueue_proxy.problems import Problem, invalid
from inferqueue_proxy.services import Services, services_of
from inferqueue_proxy.submitting import place
from inferqueue_proxy.waiting import Watch

MAX_TIMEOUT_SECONDS = 60.0
HEADER_LENGTH = "Inference-Header-Content-Length"
BODY_TYPES = ("application/json", "application/octet-stream")


async def server_metadata(request: Request) -> Response:
    return _json({"name": "inferqueue", "version": version("inferqueue-proxy"), "extensions": EXTENSIONS})


async def server_live(request: Request) -> Response:
    return _json({"live": True})


async def server_ready(request: Request) -> Response:
    await services_of(request).monitor.check()
    return _json({"ready": True})


async def metadata(request: Request) -> Response:
    model = await find_model(request)
    return _json(model_metadata(model, services_of(request).catalog.versions(model.name)))


async def model_ready(request: Request) -> Response:
    """Answer that requests for a model are taken: it is known, even while no worker runs."""
    return _json({"name": (await find_model(request)).name, "ready": True})


async def repository_index(request: Request) -> Response:
    services = services_of(request)
    await read_body(request, services.bodies, _check_index_request)
    models = services.catalog.models
    return _json([{"name": model.name, "version": model.version, "state": "READY", "reason": ""} for model in models])


async def _check_index_request(body: bytes) -> None:
    asked = await off_loop(len(body), parse_json, body) if body else {}
    if not isinstance(asked, dict) or not isinstance(asked.get("ready", False), bool):
        raise invalid("body", 'it must be empty or a JSON object such as {"ready": true}')


async def infer(request: Request) -> Response:
    services = services_of(request)
    began = time.perf_counter()
    model = await find_model(request)
    try:
        with ExitStack() as watching:
            model, asked, watch = await _submit(request, services, watching)
            job = await _await_end(request, services, asked, watch)
        answer = await _answer(request, asked, job, model)
    except Exception:
        services.statistics.failed(model, time.perf_counter() - began)
        raise
    rows = asked.rows if model.batchable else 1
    services.statistics.succeeded(model, rows, job, time.perf_counter() - began, time.time())
    return answer


async def _submit(request: Request, services: Services, watching: ExitStack) -> tuple[ModelInfo, InferRequest, Watch]:
    """Put what is asked into the queue of the version that can take it; return both, and the watch on its job.

    The request comes back without its tensors: a client that waits holds none of its data, of which there may be much.
    """
    check_content_type(request, BODY_TYPES, lenient=True)
    name, version = _asked_model(request)
    header_length = _header_length(request)

    async def submit(body: bytes) -> tuple[ModelInfo, InferRequest, Watch]:
        candidates = (services.catalog, name, version)
        model, asked, new = await services.monitor.confirm(_fit, *candidates, body, header_length)
        watch = watching.enter_context(services.waiting.watch(new.id))
        await place(services, services.queues.get(model.queue), Submission((new,)))
        return model, asked, watch

    return await read_body(request, services.bodies, submit)


async def _fit(
    catalog: Catalog, name: str, version: str | None, body: bytes, header_length: int | None
) -> tuple[ModelInfo, InferRequest, NewJob]:
    return await off_loop(len(body), _make_job, body, header_length, catalog.candidates(name, version), version)


def _make_job(
    body: bytes, header_length: int | None, models: Sequence[ModelInfo], version: str | None
) -> tuple[ModelInfo, InferRequest, NewJob]:
    model, asked = decode_request(body, header_length, models)
    job = NewJob(new_job_id(), encode_envelope(asked.envelope), target=target_of(model, version))
    return model, asked.without_tensors(), job


async def _await_end(request: Request, services: Services, asked: InferRequest, watch: Watch) -> Job:
    limit = min(services.settings.prediction_timeout, MAX_TIMEOUT_SECONDS)
    seconds = limit if asked.timeout_seconds is None else min(limit, asked.timeout_seconds)
    job = await watch.ended(seconds, None, request.is_disconnected)
    if job is None or not job.status.is_final:
        job_id = watch.job_id
        detail = f"job {job_id} has not ended within {seconds:g} s; ask for it later: GET /job/{job_id}"
        raise Problem("not-finished", detail, headers={"Location": f"/job/{job_id}"}, job_id=job_id)
    return job


async def _answer(request: Request, asked: InferRequest, job: Job, model: ModelInfo) -> Response:
    if job.status is not JobStatus.COMPLETED or job.result is None:
        raise Problem("job-failed", job.error or f"the job is {job.status}", job_id=job.id)
    if not is_envelope(job.result):
        raise Problem("job-failed", "the worker answered with JSON, not tensors: GET /job/{id} shows it", job_id=job.id)
    size = len(job.result)
    ran = job.model or RanModel(model.name, model.version, model.digest)
    answer = await off_loop(
        size * 4, lambda result: encode_response(asked, decode_envelope(result), model, ran), job.result
    )
    headers = {"Vary": "Accept-Encoding"}
    media_type = "application/json"
    if answer.header_length is not None:
        headers[HEADER_LENGTH] = str(answer.header_length)
        media_type = "application/octet-stream"
    body = answer.body
    if _wants_gzip(request):
        headers["Content-Encoding"] = "gzip"
        body = await off_loop(len(body), _gzip, body)
    return Response(body, 200, headers, media_type)


def _wants_gzip(request: Request) -> bool:
    for part in request.headers.get("accept-encoding", "").split(","):
        coding, _, weight = part.partition(";")
        if coding.strip().lower() in ("gzip", "x-gzip"):
            return weight.replace(" ", "").lower() not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def _gzip(body: bytes) -> bytes:
    return gzip.compress(body, 1, mtime=0)


async def find_model(request: Request) -> ModelInfo:
    """Return the model, and version, that a request's path names; raise a Problem when it is unknown."""
    services = services_of(request)
    return await services.monitor.confirm(_find, services.catalog, *_asked_model(request))


async def _find(catalog: Catalog, name: str, version: str | None) -> ModelInfo:
    return catalog.find(name, version)


def _asked_model(request: Request) -> tuple[str, str | None]:
    parameters = request.path_params
    return parameters["model"], parameters.get("version")


def _header_length(request: Request) -> int | None:
    value = request.headers.get(HEADER_LENGTH)
    if value is None:
        return None
    if not (value.isascii() and value.isdigit()):
        raise InvalidInputError(HEADER_LENGTH, f"{value[:40]!r} is not a number of bytes")
    return int(value[:12])


def _json(document: object) -> Response:
    return Response(orjson.dumps(document), media_type="application/json")
