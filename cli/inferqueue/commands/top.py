"""`inferqueue top`."""

import argparse
import itertools
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from inferqueue.commands.options import add_proxy_options, count, make_client, seconds
from inferqueue.commands.output import table_console, write_json
from inferqueue.commands.status import queue_overview
from inferqueue.errors import Unreachable

_SHORTEST_SECONDS = 0.05

DESCRIPTION = """\
Watch the queues and their workers live, until Ctrl-C: what waits, what runs, who comes and goes."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--interval", type=seconds, default=1.0, metavar="S", help="seconds between two looks (1)")
    parser.add_argument("--count", type=count, metavar="N", help="end after N looks instead of at Ctrl-C")
    add_proxy_options(parser)


def run(arguments: argparse.Namespace) -> int:
    console = table_console()
    with make_client(arguments) as client, _screen(console, as_json=arguments.json) as show:
        for look in itertools.count(1):
            try:
                queues = client.queues()
            except Unreachable as error:
                if look == 1:
                    raise
                trouble = f"{error}; trying again"
                if arguments.json:
                    print(trouble, file=sys.stderr)
                else:
                    show(Text(trouble))
            else:
                if arguments.json:
                    write_json(queues)
                else:
                    show(Group(queue_overview(queues), Text(), worker_table(queues), Text()))
            if look == arguments.count:
                break
            # A reader of a pipe wants each look when it is taken.
            sys.stdout.flush()
            time.sleep(max(_SHORTEST_SECONDS, arguments.interval))
    return 0


@contextmanager
def _screen(console: Console, *, as_json: bool) -> Iterator[Callable[[RenderableType], None]]:
    """Yield what shows a look: in the place of the last one on a terminal, below it anywhere else."""
    if as_json or not console.is_terminal:
        yield console.print
        return
    with Live(console=console, auto_refresh=False) as live:
        yield partial(live.update, refresh=True)


def worker_table(queues: list[dict[str, Any]]) -> Table:
    """Draw the workers of all queues as a table."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("WORKER", "QUEUE"):
        table.add_column(name, no_wrap=True)
    for name in ("RUNNING", "JOBS", "BUSY"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for queue in queues:
        for worker in queue["workers"]:
            table.add_row(
                worker["name"],
                queue["name"],
                str(worker["in_flight"]),
                str(worker["jobs"]),
                f"{worker['busy_seconds']:.1f} s",
                "retired" if worker["retired"] else "",
            )
    return table
