"""`GET /queues`: what waits, who works, how fast, and how many should."""

import asyncio
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from inferqueue_core.ids import from_ms
from inferqueue_core.jobs import QueueDecision, WorkerState
from inferqueue_proxy.monitor import COUNTERS, Look
from inferqueue_proxy.queues import Queue
from inferqueue_proxy.services import Services, services_of


async def queues(request: Request) -> Response:
    services = services_of(request)
    known = services.queues.known()
    looks = await asyncio.gather(*(services.monitor.look(queue) for queue in known))
    document = {"queues": [_shown(services, *pair) for pair in zip(known, looks, strict=True)]}
    return Response(orjson.dumps(document, option=orjson.OPT_UTC_Z), media_type="application/json")


def _shown(services: Services, queue: Queue, look: Look) -> dict[str, Any]:
    seen = look.observation
    models = [model for model in services.catalog.models if model.queue == queue.name]
    return {
        "name": queue.name,
        "model": seen.model,
        "models": list(dict.fromkeys(model.name for model in models)),
        "versions": [
            {"model": model.name, "version": model.version, "ready": services.catalog.is_ready(model)}
            for model in models
        ],
        "length": seen.length,
        "in_flight": seen.in_flight,
        "delayed": seen.delayed,
        "dead": seen.dead,
        "oldest_age_seconds": look.oldest_age_seconds,
        "submit_rate": round(look.submit_rate, 3),
        "finish_rate": round(look.finish_rate, 3),
        "counters": {name: seen.counters.get(name, 0) for name in COUNTERS},
        "workers": [_worker(worker) for worker in seen.workers],
        "decision": None if seen.decision is None else _decision(seen.decision),
    }


def _decision(decision: QueueDecision) -> dict[str, Any]:
    return {
        "desired_replicas": decision.desired_replicas,
        "replicas": decision.replicas,
        "reason": decision.reason,
        "message": decision.message,
        "decided_at": from_ms(decision.decided_at),
    }


def _worker(worker: WorkerState) -> dict[str, Any]:
    report = worker.report
    return {
        "name": worker.name,
        "model": report.model,
        "version": report.version,
        "retired": worker.retired,
        "silent_seconds": round(worker.silent_seconds, 3),
        "in_flight": report.in_flight,
        "jobs": report.jobs,
        "rows": report.rows,
        "busy_seconds": round(report.busy_seconds, 3),
    }
