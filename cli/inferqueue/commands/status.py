"""`inferqueue status`."""

import argparse
from typing import Any

import orjson
from rich.console import Group
from rich.table import Table
from rich.text import Text

from inferqueue.commands.options import add_proxy_options, make_client
from inferqueue.commands.output import job_fields, local_time, table_console, write_json
from inferqueue.jobs import Job

DESCRIPTION = "Show one job, or without JOB_ID all queues: what waits, what runs, who works."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("job_id", nargs="?", metavar="JOB_ID")
    add_proxy_options(parser)


def run(arguments: argparse.Namespace) -> int:
    with make_client(arguments) as client:
        if arguments.job_id is None:
            queues = client.queues()
            if arguments.json:
                write_json(queues)
            else:
                table_console().print(queue_overview(queues))
            return 0
        job = client.job(arguments.job_id).read()
    if arguments.json:
        write_json(job_fields(job))
    else:
        print(job_text(job))
    return 0


def job_text(job: Job) -> str:
    """Write a job for a person, one field a line, leaving out what is not there yet."""
    fields = {
        "job": job.id,
        "status": str(job.status),
        "result": None if job.result is None else orjson.dumps(job.result).decode(),
        "error": job.error,
        "attempts": str(job.attempts) if job.attempts > 1 else None,
        "submitted": local_time(job.created_at),
        "started": local_time(job.started_at),
        "ended": local_time(job.completed_at),
    }
    return "\n".join(f"{name:<10} {value}" for name, value in fields.items() if value)


def queue_overview(queues: list[dict[str, Any]]) -> Group:
    """Draw the queues as a table, and below it the last decision for each that is scaled."""
    decisions = [(queue["name"], queue["decision"]) for queue in queues if queue["decision"] is not None]
    lines = [
        Text(f"{name}: workers wanted: {said['desired_replicas']} ({said['reason']}), {said['message']}")
        for name, said in decisions
    ]
    return Group(_queue_table(queues), *lines)


def _queue_table(queues: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("QUEUE", no_wrap=True)
    table.add_column("MODELS")
    for name in ("WAITING", "OLDEST", "RUNNING", "DELAYED", "DEAD", "WORKERS", "IN/S", "OUT/S"):
        table.add_column(name, justify="right", no_wrap=True)
    for queue in queues:
        age = queue["oldest_age_seconds"]
        table.add_row(
            queue["name"],
            ", ".join(queue["models"]) or "none seen yet",
            str(queue["length"]),
            "" if age is None else f"{age:.1f} s",
            *(str(queue[name]) for name in ("in_flight", "delayed", "dead")),
            str(len(queue["workers"])),
            *(f"{queue[name]:.1f}" for name in ("submit_rate", "finish_rate")),
        )
    return table
