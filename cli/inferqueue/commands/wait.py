"""`inferqueue wait`."""

import argparse
import time
from collections.abc import Iterator, Sequence

from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from inferqueue.client import Client
from inferqueue.commands.options import add_proxy_options, make_client, seconds
from inferqueue.commands.output import person_console, write_outcome
from inferqueue.errors import WaitTimeout
from inferqueue.jobs import Job

DESCRIPTION = """\
Wait for jobs and write their results, one a line, in the order asked; with several jobs, each after its id.

The exit code is 1 when a job ended without a result or --timeout was too short."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("job_ids", nargs="+", metavar="JOB_ID")
    parser.add_argument("--timeout", type=seconds, metavar="S", help="wait for S seconds at most, all together")
    add_proxy_options(parser)


def run(arguments: argparse.Namespace) -> int:
    with_id = len(arguments.job_ids) > 1
    with make_client(arguments) as client:
        jobs = wait_for(client, arguments.job_ids, arguments.timeout)
        return max([write_outcome(job, as_json=arguments.json, with_id=with_id) for job in jobs])


def wait_for(client: Client, job_ids: Sequence[str], timeout: float | None) -> Iterator[Job]:
    """Yield each job as it ends, in the order asked, and show on a terminal how far that is."""
    deadline = None if timeout is None else time.monotonic() + timeout
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    console = person_console()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("Waiting", total=len(job_ids))
        for job_id in job_ids:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                job = client.job(job_id).wait(left)
            except WaitTimeout:
                raise WaitTimeout(job_id, timeout or 0) from None
            progress.advance(task)
            yield job
