"""What a simulation says: figures per law, as a table, as JSON and as a plot."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from inferqueue.simulation.engine import Outcome, Setting, Simulation
from inferqueue.simulation.laws import LAWS
from inferqueue.simulation.loads import Load
from inferqueue.simulation.optimum import optimum


@dataclass(frozen=True, slots=True)
class Figures:
    """One law on one load. Times in seconds; `within` is a share of all jobs; `cost_ratio` compares with hindsight.

    `first_ready` and `all_asked` count from the first arrival to the first ready worker, and to the largest number of
    replicas asked for. Values are None where nothing of the kind happened, or hindsight has no answer.
    """

    load: str
    law: str
    jobs: int
    within: float
    wait_p50: float
    wait_p99: float
    replica_seconds: float
    cost_ratio: float | None
    busy_stopped: int
    scale_events: int
    first_ready: float | None
    all_asked: float | None
    most_replicas: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """All laws on one load, with the replicas over time for the plot."""

    load: Load
    figures: tuple[Figures, ...]
    replicas: tuple[tuple[tuple[float, int], ...], ...]


def compare(load: Load, laws: Sequence[str], setting: Setting) -> Comparison:
    """Run the named laws over a load."""
    best = optimum(load, setting)
    outcomes = [Simulation(load, LAWS[name](setting), setting).run() for name in laws]
    figures = [_figures(load, name, outcome, best, setting) for name, outcome in zip(laws, outcomes, strict=True)]
    return Comparison(load, tuple(figures), tuple(tuple(outcome.replicas) for outcome in outcomes))


def _figures(load: Load, law: str, outcome: Outcome, best: float | None, setting: Setting) -> Figures:
    waits = sorted(outcome.waits)
    most = max((count for _, count in outcome.replicas), default=0)
    return Figures(
        load.name,
        law,
        len(waits),
        within=sum(1 for wait in waits if wait <= setting.max_wait) / len(waits),
        wait_p50=round(quantile(waits, 0.5), 3),
        wait_p99=round(quantile(waits, 0.99), 3),
        replica_seconds=round(outcome.replica_seconds, 1),
        cost_ratio=None if not best else round(outcome.replica_seconds / best, 3),
        busy_stopped=outcome.busy_stopped,
        scale_events=outcome.scale_events,
        first_ready=None if outcome.first_ready is None else round(outcome.first_ready - load.jobs[0][0], 3),
        all_asked=next((round(at - load.jobs[0][0], 3) for at, count in outcome.replicas if count == most), None),
        most_replicas=most,
    )


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` of the ordered values do not exceed."""
    index = max(0, -int(-share * len(ordered) // 1) - 1)
    return ordered[min(index, len(ordered) - 1)]


def as_json(comparisons: Sequence[Comparison]) -> list[dict[str, object]]:
    """Return one entry for each law on each load."""
    return [asdict(figures) for comparison in comparisons for figures in comparison.figures]


def print_tables(comparisons: Sequence[Comparison], setting: Setting, console: Console) -> None:
    """Print one table for each load."""
    for comparison in comparisons:
        jobs = len(comparison.load.jobs)
        table = Table(
            title=f"{comparison.load.name}: {jobs:,} jobs of {setting.service_seconds:g} s, wait at most "
            f"{setting.max_wait:g} s, cold start {setting.cold_start:g} s, at most {setting.max_replicas} replicas",
            title_justify="left",
            box=SIMPLE_HEAD,
            pad_edge=False,
            padding=(0, 1, 0, 0),
        )
        table.add_column("law", no_wrap=True)
        for heading in ("in time", "p50", "p99", "replica-s", "÷ best", "busy", "changes", "first", "to N"):
            table.add_column(heading, justify="right", no_wrap=True)
        for figures in comparison.figures:
            table.add_row(figures.law, *_cells(figures))
        console.print(table)
    console.print(
        "in time: share of jobs that waited no longer than they may; p50, p99: waits in s\n"
        "replica-s: workers times seconds; ÷ best: against what hindsight would pay\n"
        "busy: workers stopped while they ran a job; changes: of the replicas asked for\n"
        "first, to N: s until a worker was ready, and until the most were asked for",
        style="dim",
        soft_wrap=True,
    )


def _cells(figures: Figures) -> list[str]:
    return [
        f"{figures.within:.1%}",
        f"{figures.wait_p50:.1f}",
        f"{figures.wait_p99:.1f}",
        f"{figures.replica_seconds:,.0f}",
        "–" if figures.cost_ratio is None else f"{figures.cost_ratio:.2f}",
        str(figures.busy_stopped),
        str(figures.scale_events),
        "–" if figures.first_ready is None else f"{figures.first_ready:.0f}",
        "–" if figures.all_asked is None else f"{figures.all_asked:.0f}",
    ]


def markdown(comparisons: Sequence[Comparison]) -> str:
    """Return all figures as one Markdown table."""
    lines = [
        "| load | law | in time | wait p50 (s) | p99 (s) | replica-seconds | ÷ hindsight | busy stopped | changes |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for comparison in comparisons:
        for figures in comparison.figures:
            cells = " | ".join(_cells(figures)[:7])
            lines.append(f"| {figures.load} | {figures.law} | {cells} |")
    return "\n".join(lines)


def plot(comparisons: Sequence[Comparison], path: Path) -> None:
    """Draw the replicas of each law over time, one panel a load; the file's suffix says how (svg, png, pdf)."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 2.6 * len(comparisons)), layout="constrained")
    panels = figure.subplots(len(comparisons), 1, squeeze=False)[:, 0]
    for panel, comparison in zip(panels, comparisons, strict=True):
        for figures, replicas in zip(comparison.figures, comparison.replicas, strict=True):
            end = comparison.load.duration + 300
            shown = [(0.0, 0), *((at, count) for at, count in replicas if at <= end)]
            times, counts = zip(*shown, (end, shown[-1][1]), strict=True)
            ours = figures.law == "inferqueue"
            panel.step(times, counts, where="post", label=figures.law, linewidth=2.2 if ours else 1.0)
        panel.set_title(comparison.load.name, loc="left", fontsize=10)
        panel.set_ylabel("replicas")
        panel.set_xlim(0, None)
        panel.set_ylim(0, None)
    panels[0].legend(ncols=6, fontsize=8, frameon=False, loc="upper right")
    panels[-1].set_xlabel("seconds")
    # Equal figures give an equal file: no date, and no identifiers by chance.
    with rc_context({"svg.hashsalt": "laws"}):
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
