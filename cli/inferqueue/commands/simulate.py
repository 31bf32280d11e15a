"""`inferqueue simulate`."""

import argparse
import json
import sys
from pathlib import Path

from rich.console import Console

from inferqueue.commands.options import UsageError
from inferqueue.simulation.engine import Setting
from inferqueue.simulation.laws import LAWS
from inferqueue.simulation.loads import ARRIVALS, Load, generate, read_arrivals

DESCRIPTION = """\
Run scaling laws over a load, in simulated time: ours, unchanged, beside those that users have today and beside what
hindsight could do (a linear program that knows the future).

  inferqueue simulate --load burst
  inferqueue simulate --load all --law all --plot laws.svg
  inferqueue simulate --arrivals trace.csv --max-wait 60 --cold-start 25 --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--arrivals", type=Path, metavar="CSV", help="a trace: one arrival time in seconds a line, or `second,count`"
    )
    source.add_argument("--load", choices=(*ARRIVALS, "all"), metavar="NAME", help=f"{', '.join(ARRIVALS)} or all")
    parser.add_argument(
        "--law", choices=(*LAWS, "all"), default="all", metavar="NAME", help=f"{', '.join(LAWS)} or all"
    )
    parser.add_argument("--max-wait", type=positive, default=30.0, metavar="S", help="how long a job may wait (30 s)")
    parser.add_argument("--service-seconds", type=positive, default=1.0, metavar="S", help="work of one job (1 s)")
    parser.add_argument("--cold-start", type=positive, default=20.0, metavar="S", help="start of a worker (20 s)")
    parser.add_argument("--max-replicas", type=count, default=100, metavar="N", help="most workers (100)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="equal seeds give equal figures (1)")
    parser.add_argument(
        "--outage",
        type=span,
        action="append",
        default=[],
        metavar="FROM:TO",
        help="seconds during which Redis cannot be read; may be given several times",
    )
    parser.add_argument("--plot", type=picture, metavar="FILE", help="draw the replicas over time (svg, png or pdf)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="write one entry for each law as JSON")
    form.add_argument("--markdown", action="store_true", help="write one Markdown table")


def run(arguments: argparse.Namespace) -> int:
    try:
        from inferqueue.simulation.report import as_json, compare, markdown, plot, print_tables
    except ImportError as error:
        raise UsageError(f"the simulator needs {error.name}: pip install 'inferqueue[simulate]'") from None
    setting = Setting(
        max_wait=arguments.max_wait,
        cold_start=arguments.cold_start,
        service_seconds=arguments.service_seconds,
        max_replicas=arguments.max_replicas,
        seed=arguments.seed,
        outages=tuple(arguments.outage),
    )
    if arguments.plot is not None and not arguments.plot.parent.is_dir():
        raise UsageError(f"cannot plot to {arguments.plot}: there is no folder {arguments.plot.parent}")
    laws = list(LAWS) if arguments.law == "all" else [arguments.law]
    comparisons = [compare(load, laws, setting) for load in _loads(arguments)]
    if arguments.json:
        print(json.dumps(as_json(comparisons), indent=2))
    elif arguments.markdown:
        print(markdown(comparisons))
    else:
        print_tables(comparisons, setting, Console())
    if arguments.plot is not None:
        plot(comparisons, arguments.plot)
        print(f"plotted to {arguments.plot}", file=sys.stderr)
    return 0


def _loads(arguments: argparse.Namespace) -> list[Load]:
    if arguments.arrivals is None:
        names = list(ARRIVALS) if arguments.load == "all" else [arguments.load]
        return [generate(name, arguments.service_seconds, arguments.seed) for name in names]
    try:
        return [read_arrivals(arguments.arrivals, arguments.service_seconds, arguments.seed)]
    except OSError as error:
        raise UsageError(f"cannot read {arguments.arrivals}: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(str(error)) from None


def positive(text: str) -> float:
    """Check a number of seconds, for argparse."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")
    return seconds


def picture(text: str) -> Path:
    """Check a file to plot to, for argparse."""
    path = Path(text)
    if path.suffix not in (".svg", ".png", ".pdf"):
        raise argparse.ArgumentTypeError(f"{text!r} does not end in .svg, .png or .pdf")
    return path


def count(text: str) -> int:
    """Check a number of workers, for argparse."""
    if not text.isdigit() or not 1 <= int(text) <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to 10000")
    return int(text)


def span(text: str) -> tuple[float, float]:
    """Check a time FROM:TO, for argparse."""
    start, _, end = text.partition(":")
    try:
        seconds = float(start), float(end)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not FROM:TO in seconds") from None
    if not 0 <= seconds[0] < seconds[1] < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r}: FROM must lie before TO, and TO below 1000000")
    return seconds
