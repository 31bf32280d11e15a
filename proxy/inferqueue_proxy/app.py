"""The app: everything is made and wired here, and nowhere else."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from inferqueue_core.cancellation import end_tasks
from inferqueue_core.connection import connect_async
from inferqueue_core.errors import (
    InvalidInputError,
    QueueError,
    QueueMemoryFullError,
    QueueRefusedError,
    QueueUnavailableError,
)
from inferqueue_proxy.auth import ApiKeys, Authentication
from inferqueue_proxy.body_limits import BodyLimits
from inferqueue_proxy.catalog import Catalog
from inferqueue_proxy.failures import Failures
from inferqueue_proxy.metrics import ROUTED, Measurement, Metrics
from inferqueue_proxy.monitor import Monitor
from inferqueue_proxy.openapi import document
from inferqueue_proxy.problems import Problem, from_invalid_input, respond
from inferqueue_proxy.queues import Queues
from inferqueue_proxy.reaper import reap
from inferqueue_proxy.routes import batch, health, infer, jobs, predict, queues, triton
from inferqueue_proxy.services import Services
from inferqueue_proxy.settings import ProxySettings
from inferqueue_proxy.statistics import InferStatistics
from inferqueue_proxy.waiting import Waiting

log = logging.getLogger(__name__)

STOP_SECONDS = 2.0
"""How long background tasks may take to end, one of which may just be connecting to Redis."""

RESTART_SECONDS = 1.0

EXPOSED_HEADERS = (
    *("Location", "Retry-After", "Idempotent-Replayed", "Preference-Applied", "Allow", "Accept", "Accept-Encoding"),
    infer.HEADER_LENGTH,
)
"""What a page of another origin may read of an answer's head, where CORS_ORIGINS admits it."""

Handler = Callable[[Request], Awaitable[Response]]

# The busiest first: routes are tried in this order.
ROUTES: tuple[tuple[str, Handler, tuple[str, ...]], ...] = (
    ("/predict", predict.predict, ("POST",)),
    ("/job/{job_id}", jobs.job, ("GET", "DELETE")),
    ("/v2/models/{model}/infer", infer.infer, ("POST",)),
    ("/v2/models/{model}/versions/{version}/infer", infer.infer, ("POST",)),
    ("/predict/batch", batch.predict_batch, ("POST",)),
    ("/health", health.health, ("GET",)),
    ("/livez", health.live, ("GET",)),
    ("/readyz", health.ready, ("GET",)),
    ("/queues", queues.queues, ("GET",)),
    ("/v2", infer.server_metadata, ("GET",)),
    ("/v2/health/live", infer.server_live, ("GET",)),
    ("/v2/health/ready", infer.server_ready, ("GET",)),
    ("/v2/models/stats", triton.all_statistics, ("GET",)),
    ("/v2/models/{model}", infer.metadata, ("GET",)),
    ("/v2/models/{model}/versions/{version}", infer.metadata, ("GET",)),
    ("/v2/models/{model}/ready", infer.model_ready, ("GET",)),
    ("/v2/models/{model}/versions/{version}/ready", infer.model_ready, ("GET",)),
    ("/v2/models/{model}/config", triton.config, ("GET",)),
    ("/v2/models/{model}/versions/{version}/config", triton.config, ("GET",)),
    ("/v2/models/{model}/stats", triton.model_statistics, ("GET",)),
    ("/v2/models/{model}/versions/{version}/stats", triton.model_statistics, ("GET",)),
    ("/v2/repository/index", infer.repository_index, ("POST",)),
    ("/v2/repository/models/{model}/load", triton.load, ("POST",)),
    ("/v2/repository/models/{model}/unload", triton.load, ("POST",)),
    ("/v2/logging", triton.logging_settings, ("GET", "POST")),
    ("/v2/trace/setting", triton.trace_settings, ("GET", "POST")),
    ("/v2/models/{model}/trace/setting", triton.trace_settings, ("GET", "POST")),
    ("/v2/{kind}sharedmemory/status", triton.shared_memory, ("GET",)),
    ("/v2/{kind}sharedmemory/unregister", triton.shared_memory, ("POST",)),
    ("/v2/{kind}sharedmemory/region/{region}/status", triton.shared_memory, ("GET",)),
    ("/v2/{kind}sharedmemory/region/{region}/register", triton.shared_memory, ("POST",)),
    ("/v2/{kind}sharedmemory/region/{region}/unregister", triton.shared_memory, ("POST",)),
)


def make_services(settings: ProxySettings) -> Services:
    """Make the proxy's parts; nothing connects yet."""
    policy = settings.policy(settings.queue_max_length)
    prefix = settings.key_prefix
    queues = Queues(connect_async(settings), policy, prefix, settings.queue_name)
    catalog = Catalog(settings.queue_name)
    waiting = Waiting(connect_async(settings), queues.job, prefix)
    monitor = Monitor(queues, catalog)
    metrics = Metrics()
    metrics.watch(monitor, waiting)
    bodies = BodyLimits(settings.max_body_bytes)
    return Services(settings, bodies, queues, catalog, waiting, monitor, metrics, InferStatistics())


def make_app(services: Services, keys: ApiKeys) -> FastAPI:
    """Make the web application."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        rounds: tuple[Callable[[], Awaitable[None]], ...] = (
            services.waiting.run,
            services.monitor.run,
            keys.run,
            lambda: reap(services.queues, services.queues.default.client.policy.reap_interval),
        )
        tasks = [asyncio.create_task(keep_running(work)) for work in rounds]
        yield
        await end_tasks(tasks, STOP_SECONDS)

    # FastAPI's own spans and counters cost each request more than ours, and nobody reads them.
    telemetry: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}
    app = FastAPI(title="inferqueue", lifespan=lifespan, redoc_url=None, redirect_slashes=False, telemetry=telemetry)
    app.state.services = services
    described = document(version("inferqueue-proxy"), keys_required=keys.required)
    app.openapi = lambda: described  # type: ignore[method-assign]
    for path, handler, methods in ROUTES:
        app.add_route(path, _noted(path, handler), list(methods))
    app.router.default = _without_slash(app.router, app.router.default)
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(InvalidInputError, _on_invalid_input)
    app.add_exception_handler(QueueError, _on_queue_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    app.add_middleware(Failures)
    if keys.required:
        app.add_middleware(Authentication, keys=keys)
    origins = services.settings.allowed_origins
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["*"],
            expose_headers=EXPOSED_HEADERS,
            max_age=3600,
        )
    app.add_middleware(Measurement, metrics=services.metrics)
    return app


def _noted(path: str, handler: Handler) -> Handler:
    async def handle(request: Request) -> Response:
        request.scope[ROUTED]["path"] = path
        return await handler(request)

    return handle


def _without_slash(router: ASGIApp, otherwise: ASGIApp) -> ASGIApp:
    """Make what answers where no route does: the route of the path without a slash at its end, as Triton has it."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if path.endswith("/") and path != "/":
            await router({**scope, "path": path.rstrip("/") or "/"}, receive, send)
        else:
            await otherwise(scope, receive, send)

    return answer


async def keep_running(work: Callable[[], Awaitable[None]], pause: float = RESTART_SECONDS) -> None:
    """Begin `work` again when it fails as nobody foresaw: a key of ours that a stranger made something else, say."""
    while True:
        try:
            await work()
            return
        except Exception:
            log.exception("a background task has failed, it begins again")
            await asyncio.sleep(pause)


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return respond(request, error)


async def _on_invalid_input(request: Request, error: Exception) -> Response:
    assert isinstance(error, InvalidInputError)
    return respond(request, from_invalid_input(error))


async def _on_queue_error(request: Request, error: Exception) -> Response:
    if isinstance(error, QueueRefusedError):
        detail = f"{error}; send less data in one request, or raise Redis' limits"
        return respond(request, Problem("body-too-large", f"{detail} (proto-max-bulk-len, client-query-buffer-limit)"))
    kind = "redis-unsuitable"
    if isinstance(error, QueueMemoryFullError):
        kind = "redis-full"
    elif isinstance(error, QueueUnavailableError):
        kind = "redis-unavailable"
    return respond(request, Problem(kind, f"{error}; retry in 2 s", headers={"Retry-After": "2"}))


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = request.scope["path"][:200]
    allowed = dict(error.headers or {}).get("Allow", "")
    if request.method == "OPTIONS" and (allowed or path == "*"):
        return Response(status_code=204, headers={"Allow": f"{allowed or 'GET, HEAD, POST, DELETE'}, OPTIONS"})
    if error.status_code == 405:
        detail = f"{path} does not know {request.method}; it knows {allowed}"
        return respond(request, Problem("method-not-allowed", detail, headers=error.headers))
    return respond(request, Problem("not-found", f"there is no {path}; /openapi.json tells what there is"))


async def _on_disconnect(request: Request, error: Exception) -> Response:
    return Response(status_code=499)
