"""How answers are written: results to standard output, everything meant for a person alone to standard error."""

import sys
from dataclasses import asdict
from datetime import datetime
from typing import Any

import orjson
from rich.console import Console

from inferqueue.jobs import Job

ENDED_BADLY = 1


def write_json(value: Any) -> None:
    """Write one line of JSON."""
    print(orjson.dumps(value, option=orjson.OPT_UTC_Z).decode())


def job_fields(job: Job) -> dict[str, Any]:
    """Return a job as the proxy does."""
    fields = asdict(job)
    return {"job_id": fields.pop("id"), **fields}


def write_outcome(job: Job, *, as_json: bool, with_id: bool) -> int:
    """Write what became of a job: its result, or why there is none; give the exit code."""
    failed = job.status != "completed"
    if as_json:
        write_json(job_fields(job))
    elif failed:
        print(f"job {job.id} {job.status}" + (f": {job.error}" if job.error else ""), file=sys.stderr)
    else:
        result = orjson.dumps(job.result).decode()
        print(f"{job.id}\t{result}" if with_id else result)
    return ENDED_BADLY if failed else 0


def local_time(time: datetime | None) -> str:
    """Write a time in the zone of the person who reads it."""
    return "" if time is None else f"{time.astimezone():%Y-%m-%d %H:%M:%S}"


def person_console() -> Console:
    """Return standard error as a console: it moves only on a terminal."""
    return Console(stderr=True, highlight=False)


def table_console() -> Console:
    """Return standard output as a console; where it is no terminal, lines are as long as they need to be."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else 200)
