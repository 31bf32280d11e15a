"""What kopf calls."""

from typing import Any

import kopf

from inferqueue_operator import startup
from inferqueue_operator.api import log_in
from inferqueue_operator.application import Application
from inferqueue_operator.resource import GROUP, PLURAL, VERSION, parse


def register(registry: kopf.OperatorRegistry, application: Application) -> None:
    """Register the operator's handlers; none of them makes kopf add a finalizer."""

    @kopf.on.startup(registry=registry)
    async def start(settings: kopf.OperatorSettings, **_: Any) -> None:
        startup.configure(settings)
        try:
            await application.start()
        except OSError as error:
            raise kopf.PermanentError(f"HOST, HEALTH_PORT or METRICS_PORT cannot be listened on: {error}") from error

    @kopf.on.cleanup(registry=registry)
    async def stop(**_: Any) -> None:
        await application.stop()

    @kopf.on.login(registry=registry)
    def login(**_: Any) -> kopf.ConnectionInfo:
        return log_in()

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)
    async def follow(event: kopf.RawEvent, **_: Any) -> None:
        resource = parse(event["object"])
        if event["type"] == "DELETED":
            application.supervisor.forget(resource)
        else:
            application.supervisor.follow(resource)
