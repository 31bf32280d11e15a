"""`/v2/…` beside the Open Inference Protocol: what Triton's tools and clients ask for, answered or refused as there."""

import orjson
from starlette.requests import Request
from starlette.responses import Response

from inferqueue_proxy.model_config import model_config
from inferqueue_proxy.problems import Problem
from inferqueue_proxy.routes.infer import find_model
from inferqueue_proxy.services import services_of

LOGGING = {
    "log_file": "",
    "log_info": True,
    "log_warning": True,
    "log_error": True,
    "log_verbose_level": 0,
    "log_format": "default",
}
TRACING = {
    "trace_level": ["OFF"],
    "trace_rate": "1000",
    "trace_count": "-1",
    "log_frequency": "0",
    "trace_file": "",
    "trace_mode": "triton",
}
"""Settings in Triton's words: what is logged is not to be changed, and nothing is traced."""


async def config(request: Request) -> Response:
    return _json(model_config(await find_model(request)))


async def model_statistics(request: Request) -> Response:
    model = await find_model(request)
    return _json({"model_stats": [services_of(request).statistics.shown(model)]})


async def all_statistics(request: Request) -> Response:
    services = services_of(request)
    return _json({"model_stats": [services.statistics.shown(model) for model in services.catalog.models]})


async def load(request: Request) -> Response:
    """Refuse to load or unload a model."""
    raise Problem("not-supported", "models are loaded by workers: start or stop one, or scale its deployment")


async def logging_settings(request: Request) -> Response:
    if request.method == "POST":
        raise Problem("not-supported", "what is logged is not set over HTTP; GET shows it")
    return _json(LOGGING)


async def trace_settings(request: Request) -> Response:
    if request.method == "POST":
        raise Problem("not-supported", "there are no traces; GET shows it, and /metrics on METRICS_PORT has times")
    return _json(TRACING)


async def shared_memory(request: Request) -> Response:
    """Answer that no shared memory is registered, and refuse to register any."""
    kind, act = request.path_params["kind"], request.url.path.rstrip("/").rpartition("/")[2]
    if kind not in ("system", "cuda"):
        raise Problem("not-found", f"there is no {kind[:40]!r} shared memory; /openapi.json tells what there is")
    if act == "register":
        raise Problem("not-supported", "the proxy reads no shared memory; send tensors in the body, binary or JSON")
    return _json({} if act == "unregister" else [])


def _json(document: object) -> Response:
    return Response(orjson.dumps(document), media_type="application/json")
