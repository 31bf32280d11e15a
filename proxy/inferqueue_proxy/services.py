"""What handlers work with: made once by the app, found through the request."""

from dataclasses import dataclass
from typing import cast

from starlette.requests import Request

from inferqueue_proxy.body_limits import BodyLimits
from inferqueue_proxy.catalog import Catalog
from inferqueue_proxy.metrics import Metrics
from inferqueue_proxy.monitor import Monitor
from inferqueue_proxy.queues import Queues
from inferqueue_proxy.settings import ProxySettings
from inferqueue_proxy.statistics import InferStatistics
from inferqueue_proxy.waiting import Waiting


@dataclass(frozen=True, slots=True)
class Services:
    """The proxy's parts."""

    settings: ProxySettings
    bodies: BodyLimits
    queues: Queues
    catalog: Catalog
    waiting: Waiting
    monitor: Monitor
    metrics: Metrics
    statistics: InferStatistics


def services_of(request: Request) -> Services:
    """Give the parts of the app that this request came to."""
    return cast(Services, request.app.state.services)
