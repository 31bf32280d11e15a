"""Measure inferqueue side by side with others, in one run, on one Redis.

make bench                       everything, at most a quarter of an hour
make bench ARGS=--quick          one short run of each: does it work, roughly how fast
make bench ARGS="--only models"  one of the measures
make bench ARGS=--markdown       put the last results into docs/benchmarks.md, measuring nothing
"""

import argparse
import signal
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import redis
from rich.console import Console

import machine
import report
from context import FULL, QUICK, Bench
from measures import chaos, infer, models, queues, submits
from programs import BENCH, BenchError, RedisServer
from series import NotMeasured, Row

MEASURES: dict[str, Callable[[Bench], Sequence[Row]]] = {
    "submits": submits.measure,
    "queues": queues.measure,
    "infer": infer.measure,
    "models": models.measure,
    "chaos": chaos.measure,
}
LATEST = BENCH / "results" / "latest.json"
PAGE = BENCH.parent / "docs" / "benchmarks.md"
_LIMIT_SECONDS = 900
_PAGE_COLUMNS = 120


def main() -> None:
    """Run the program; ends with 1 when something could not be measured, whatever the targets say."""
    flags = _parser().parse_args()
    if flags.markdown:
        report.write_markdown(report.read_json(LATEST), PAGE)
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that every process is ended
    rows = _measure(flags.only or list(MEASURES), quick=flags.quick)
    sys.exit(any(isinstance(row, NotMeasured) for row in rows))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one short run of everything, not for publication")
    parser.add_argument("--only", action="append", choices=list(MEASURES), help="take this measure; may be repeated")
    parser.add_argument("--markdown", action="store_true", help="write the last results into docs/benchmarks.md")
    return parser


def _measure(names: Sequence[str], *, quick: bool) -> list[Row]:
    console = Console()
    if not console.is_terminal:
        console.width = _PAGE_COLUMNS
    start = time.monotonic()
    extent = QUICK if quick else FULL
    rows: list[Row] = []
    with RedisServer() as server, console.status("") as status:
        where = machine.describe(server.client)
        bench = Bench(server, extent, status.update, start + _LIMIT_SECONDS)
        for name in names:
            rows += _take(name, bench)
            console.print(f"{name} done after {time.monotonic() - start:.0f} s", style="dim")
    date = datetime.now(UTC).date().isoformat()
    lines = tuple(report.line_of(row) for row in rows)
    outcome = report.Report(where, date, extent.runs, time.monotonic() - start, lines)
    report.print_report(outcome, console)
    report.write_json(outcome, rows, LATEST)
    console.print(f"Every value of every run: {LATEST}")
    return rows


def _take(name: str, bench: Bench) -> Sequence[Row]:
    try:
        return MEASURES[name](bench)
    except (BenchError, redis.RedisError, OSError) as error:
        return [NotMeasured(name, str(error))]


if __name__ == "__main__":
    main()
