"""`POST /predict`: data in, a job id out."""

from contextlib import ExitStack

import orjson
from starlette.requests import Request
from starlette.responses import Response

from inferqueue_core.ids import new_job_id
from inferqueue_core.jobs import Job, JobStatus, NewJob, Submission
from inferqueue_core.models import ModelInfo
from inferqueue_proxy.bodies import check_content_type, off_loop, parse_json, read_body
from inferqueue_proxy.idempotency import bind
from inferqueue_proxy.orders import Order, make_job, read_order
from inferqueue_proxy.prefer import Wait, read_prefer
from inferqueue_proxy.queues import Queue
from inferqueue_proxy.routes.jobs import render
from inferqueue_proxy.services import Services, services_of
from inferqueue_proxy.submitting import Placed, place
from inferqueue_proxy.waiting import Watch

JSON_TYPES = ("application/json",)


async def predict(request: Request) -> Response:
    services = services_of(request)
    check_content_type(request, JSON_TYPES)
    wait = read_prefer(request.headers.getlist("prefer"))
    with ExitStack() as watching:

        async def submit(body: bytes) -> tuple[Placed, Watch | None]:
            queue, submission = await _read(request, services, body)
            # Subscribed to before the job exists, so that its end cannot be missed.
            job_id = submission.jobs[0].id
            watch = watching.enter_context(services.waiting.watch(job_id)) if wait.seconds else None
            return await place(services, queue, submission), watch

        # A client that waits holds none of its data, of which there may be much.
        placed, watch = await read_body(request, services.bodies, submit)
        if watch is None:
            return accepted(placed, wait, await services.queues.job(placed.job_ids[0]) if placed.replayed else None)
        if placed.replayed:
            watch.follow(placed.job_ids[0])
        job = await watch.ended(wait.seconds, None, request.is_disconnected)
    return await _answer(placed, wait, job)


async def _read(request: Request, services: Services, body: bytes) -> tuple[Queue, Submission]:
    value = await off_loop(len(body), parse_json, body)
    queue, job = await _order_job(services, read_order(value), len(body))
    key = request.headers.get("idempotency-key")
    return queue, Submission((job,), await off_loop(len(body), bind, key, client_of(request), "/predict", value))


async def _order_job(services: Services, order: Order, size: int) -> tuple[Queue, NewJob]:
    """Check an order of `size` bytes against the versions that it may be for; return its queue and its job."""
    model, job = await services.monitor.confirm(_make_job, services, order, size)
    return services.queues.default if model is None else services.queues.get(model.queue), job


async def _make_job(services: Services, order: Order, size: int) -> tuple[ModelInfo | None, NewJob]:
    models = services.catalog.ordered(order.model, order.version)
    return await off_loop(size, make_job, new_job_id(), order, models)


async def _answer(placed: Placed, wait: Wait, job: Job | None) -> Response:
    if job is None or not job.status.is_final:
        return accepted(placed, wait, job)
    headers = wait.headers | _location(job.id) | _replayed(placed)
    return Response(await render(job), 200, headers, "application/json")


def accepted(placed: Placed, wait: Wait, job: Job | None = None) -> Response:
    """Answer that a job is in the queue."""
    job_id = placed.job_ids[0]
    document: dict[str, object] = {"job_id": job_id, "status": JobStatus.PENDING if job is None else job.status}
    if placed.ahead is not None and job is None:
        document["queue_position"] = placed.ahead
    headers = {"Retry-After": "1"} | wait.headers | _location(job_id) | _replayed(placed)
    return Response(orjson.dumps(document), 202, headers, "application/json")


def client_of(request: Request) -> str:
    """Name whose request it is; the empty string where no keys are set."""
    return str(request.scope.get("client_name", ""))


def _location(job_id: str) -> dict[str, str]:
    return {"Location": f"/job/{job_id}"}


def _replayed(placed: Placed) -> dict[str, str]:
    return {"Idempotent-Replayed": "true"} if placed.replayed else {}
