"""The program `inferqueue-operator`."""

import argparse
import asyncio
import logging
import socket
from collections.abc import Sequence

import kopf
from prometheus_client import disable_created_metrics

from inferqueue_core.logs import log_to_stderr
from inferqueue_core.settings import add_flags, read_settings
from inferqueue_operator.application import Application
from inferqueue_operator.handlers import register
from inferqueue_operator.lookups import PatientLoop
from inferqueue_operator.settings import OperatorSettings


def main(arguments: Sequence[str] | None = None) -> None:
    """Run until SIGTERM or SIGINT; exit 2 when a setting is wrong."""
    parser = argparse.ArgumentParser(prog="inferqueue-operator", description=__doc__)
    add_flags(parser, OperatorSettings)
    settings = read_settings(OperatorSettings, parser.parse_args(arguments))
    log_to_stderr()
    logging.getLogger("kopf").setLevel(logging.WARNING)
    disable_created_metrics()  # type: ignore[no-untyped-call]  # it has no annotations
    with asyncio.Runner(loop_factory=PatientLoop) as runner:
        runner.run(_run(settings))


async def _run(settings: OperatorSettings) -> None:
    registry = kopf.OperatorRegistry()
    register(registry, Application(settings))
    await kopf.operator(
        registry=registry,
        standalone=True,
        clusterwide=not settings.namespaces,
        namespaces=settings.namespaces,
        # Otherwise kopf looks up the name of the user, and a numeric user has none.
        identity=socket.gethostname(),  # type: ignore[arg-type]  # the type, a string's, is private to kopf
    )
