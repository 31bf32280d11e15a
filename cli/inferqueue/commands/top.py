"""`inferqueue top`."""

import argparse
import time
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from inferqueue.commands.options import add_proxy_options, count, make_client, seconds
from inferqueue.commands.output import table_console, write_json
from inferqueue.commands.status import queue_overview
from inferqueue.errors import Unreachable

DESCRIPTION = """\
Watch the queues and their workers live, until Ctrl-C: what waits, what runs, who comes and goes."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--interval", type=seconds, default=1.0, metavar="S", help="seconds between two looks (1)")
    parser.add_argument("--count", type=count, metavar="N", help="end after N looks instead of at Ctrl-C")
    add_proxy_options(parser)


def run(arguments: argparse.Namespace) -> int:
    console = table_console()
    with make_client(arguments) as client, Live(console=console, auto_refresh=False, transient=False) as live:
        looks = 0
        while True:
            try:
                queues = client.queues()
            except Unreachable as error:
                if looks == 0:
                    raise
                _show(live, Text(f"{error}; trying again"))
            else:
                if arguments.json:
                    write_json(queues)
                else:
                    _show(live, Group(queue_overview(queues), Text(), worker_table(queues)))
            looks += 1
            if looks == arguments.count:
                return 0
            time.sleep(max(0.05, arguments.interval))


def _show(live: Live, look: RenderableType) -> None:
    if live.console.is_terminal:
        live.update(look, refresh=True)
    else:  # where nothing can be redrawn, each look stays
        live.console.print(look)


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
