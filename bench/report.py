"""The report of one benchmark: a table on the screen, a JSON file, and the table of docs/benchmarks.md."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from series import Finding, NotMeasured, Row

_BEGIN, _END = "<!-- results: written by `bench/run.py --markdown` -->", "<!-- end of results -->"
_VERDICTS = {True: "met", False: "not met", None: ""}


@dataclass(frozen=True, slots=True)
class Line:
    """One row as text."""

    measure: str
    median: str
    spread: str
    target: str
    verdict: str
    note: str

    @property
    def cells(self) -> tuple[str, ...]:
        return (self.measure, self.median, self.spread, self.target, self.verdict, self.note)


@dataclass(frozen=True, slots=True)
class Report:
    """What was measured, where, and in how many runs."""

    machine: dict[str, str]
    date: str
    runs: int
    seconds: float
    lines: tuple[Line, ...]


HEADINGS = ("measure", "median", "min - max", "target", "", "note")


def line_of(row: Row) -> Line:
    """Write a row as people read it."""
    if isinstance(row, NotMeasured):
        return Line(row.measure, "not measured", "", "", "", row.reason)
    series = row.series
    spread = f"{_number(series.low)} - {_number(series.high)}" if len(series.values) > 1 else ""
    target = "" if row.target is None else str(row.target)
    median = f"{_number(series.median)} {row.unit}"
    return Line(row.measure, median, spread, target, _VERDICTS[row.is_met], row.note)


def _number(value: float) -> str:
    if value == 0 or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:,.3g}"


def print_report(report: Report, console: Console) -> None:
    """Print the machine and the table."""
    for name, value in report.machine.items():
        console.print(f"[bold]{name}[/]: {value}", highlight=False)
    table = Table(caption=f"medians of {report.runs} runs; {report.seconds:.0f} s in all")
    for heading in HEADINGS[:-1]:
        table.add_column(heading, justify="left" if heading == HEADINGS[0] else "right")
    for line in report.lines:
        table.add_row(*line.cells[:-1], style={"met": "green", "not met": "red"}.get(line.verdict, ""))
    console.print(table)
    for line in report.lines:
        if line.note:
            console.print(f"[bold]{line.measure}[/]: {escape(line.note)}", highlight=False)


def write_json(report: Report, rows: Sequence[Row], path: Path) -> None:
    """Write every value of every run."""
    document = {
        "machine": report.machine,
        "date": report.date,
        "runs": report.runs,
        "seconds": round(report.seconds, 1),
        "rows": [_entry(row, line) for row, line in zip(rows, report.lines, strict=True)],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def _entry(row: Row, line: Line) -> dict[str, Any]:
    text = dict(zip(Line.__slots__, line.cells, strict=True))
    if isinstance(row, Finding):
        series = row.series
        numbers = {"median": series.median, "min": series.low, "max": series.high, "values": series.values}
        return {"measure": row.measure, "unit": row.unit, **numbers, "met": row.is_met, "text": text}
    return {"measure": row.measure, "not_measured": row.reason, "text": text}


def read_json(path: Path) -> Report:
    """Read back what `write_json` wrote."""
    document = json.loads(path.read_text())
    lines = tuple(Line(**entry["text"]) for entry in document["rows"])
    return Report(document["machine"], document["date"], document["runs"], document["seconds"], lines)


def write_markdown(report: Report, page: Path) -> None:
    """Put the table between its marks in a page of the documentation."""
    text = page.read_text()
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise SystemExit(f"{page} lacks the lines {_BEGIN!r} and {_END!r}, between which the results go")
    machine = [f"- {name}: {value}" for name, value in report.machine.items()]
    heading = f"Measured on {report.date}, medians of {report.runs} runs:"
    table = [_markdown_row(HEADINGS), "|" + "---|" * len(HEADINGS), *(_markdown_row(li.cells) for li in report.lines)]
    body = "\n".join((heading, "", *machine, "", *table))
    page.write_text(f"{before}{_BEGIN}\n\n{body}\n\n{_END}{after}")


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
