"""`inferqueue submit`."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from inferqueue.commands.options import UsageError, add_proxy_options, make_client, seconds
from inferqueue.commands.output import job_fields, write_json, write_outcome
from inferqueue.commands.wait import wait_for
from inferqueue.flows import quoted_key

DESCRIPTION = """\
Submit one job and write its id, or with --wait its result.

  inferqueue submit '[[5.1, 3.5, 1.4, 0.2]]'
  inferqueue submit --wait @flowers.json
  echo '[[5.1, 3.5, 1.4, 0.2]]' | inferqueue submit -"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", metavar="DATA", help="JSON, @FILE to read it from a file, - from standard input")
    parser.add_argument("--model", metavar="NAME", help="the model to run; the proxy's own when it is not given")
    parser.add_argument(
        "--version", metavar="N", help="the version of --model to run; the highest that is served when it is not given"
    )
    parser.add_argument(
        "--deadline-seconds",
        type=seconds,
        metavar="S",
        help="let the job expire when no worker has taken it after S seconds",
    )
    parser.add_argument(
        "--idempotency-key", type=key, metavar="KEY", help="the same key and data give the same job, however often"
    )
    parser.add_argument("--wait", action="store_true", help="wait for the result and write it instead of the id")
    parser.add_argument("--timeout", type=seconds, metavar="S", help="wait for S seconds at most")
    add_proxy_options(parser)


def run(arguments: argparse.Namespace) -> int:
    data = read_data(arguments.data)
    with make_client(arguments) as client:
        handle = client.submit(
            data,
            model=arguments.model,
            version=arguments.version,
            deadline_seconds=arguments.deadline_seconds,
            idempotency_key=arguments.idempotency_key,
        )
        if arguments.wait:
            try:
                (job,) = wait_for(client, [handle.id], arguments.timeout)
            except KeyboardInterrupt:
                print(f"the job goes on; to wait for it again: inferqueue wait {handle.id}", file=sys.stderr)
                raise
            return write_outcome(job, as_json=arguments.json, with_id=False)
        if arguments.json:
            write_json(job_fields(handle.read()))
        else:
            print(handle.id)
    return 0


def key(text: str) -> str:
    """Check an idempotency key, for argparse."""
    try:
        quoted_key(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def read_data(text: str) -> Any:
    """Read DATA; raise UsageError naming the place when it is no JSON."""
    place = "DATA"
    try:
        if text == "-":
            place = "standard input"
            text = sys.stdin.read()
        elif text.startswith("@"):
            place = text[1:]
            text = Path(place).read_text()
        return json.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {place}: {error}") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{place} is not JSON: {error}; in a shell, put it into single quotes") from None
