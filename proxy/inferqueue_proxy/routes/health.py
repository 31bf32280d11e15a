"""Health: `/health` for people and load balancers, `/livez` and `/readyz` for Kubernetes."""

from starlette.requests import Request
from starlette.responses import Response

from inferqueue_proxy.services import services_of


async def health(request: Request) -> Response:
    """Answer whether jobs can be taken: whether Redis takes writes."""
    await services_of(request).monitor.ping()
    return Response(b'{"status":"healthy"}', media_type="application/json")


async def live(request: Request) -> Response:
    """Answer that this process runs; Redis is not asked."""
    return Response(b'{"status":"live"}', media_type="application/json")


async def ready(request: Request) -> Response:
    """Answer whether Redis takes writes and can hold a queue."""
    await services_of(request).monitor.check()
    return Response(b'{"status":"ready"}', media_type="application/json")
