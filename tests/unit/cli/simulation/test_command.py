"""`inferqueue simulate` as it is typed."""

import argparse
import json
from pathlib import Path

import pytest

from inferqueue.commands import simulate
from inferqueue.commands.options import UsageError


def run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    simulate.add_arguments(parser)
    return simulate.run(parser.parse_args(words))


def test_a_trace_under_all_laws_gives_one_entry_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("second,count\n0,3\n10,5\n")
    options = "--law all --max-wait 30 --service-seconds 1 --cold-start 20 --max-replicas 100 --seed 1 --json"

    assert run("--arrivals", str(trace), *options.split()) == 0
    first = capsys.readouterr().out
    run("--arrivals", str(trace), *options.split())

    assert capsys.readouterr().out == first
    entries = json.loads(first)
    assert [entry["law"] for entry in entries] == [
        *("inferqueue", "keda", "keda-tuned", "knative", "ray-serve", "sagemaker")
    ]
    figures = {"within", "wait_p50", "wait_p99", "replica_seconds", "cost_ratio", "busy_stopped", "scale_events"}
    assert all(figures <= entry.keys() for entry in entries)
    assert {entry["jobs"] for entry in entries} == {8}


def test_a_plot_is_drawn_the_same_each_time(tmp_path: Path) -> None:
    first, again = tmp_path / "laws.svg", tmp_path / "again.svg"
    for path in (first, again):
        run("--load", "burst", "--law", "inferqueue", "--plot", str(path))

    assert first.read_text().startswith("<?xml")
    assert first.read_text() == again.read_text()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--outage", "0:inf"), "TO below 1000000"),
        (("--outage", "5:5"), "FROM must lie before TO"),
        (("--max-wait", "nan"), "'nan' is no number of seconds above 0"),
        (("--cold-start", "-1"), "'-1' is no number of seconds above 0"),
        (("--max-replicas", "0"), "'0' is no number from 1 to 10000"),
        (("--plot", "laws.foo"), "'laws.foo' does not end in .svg, .png or .pdf"),
    ],
)
def test_options_that_cannot_be_meant(
    options: tuple[str, ...], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run("--load", "burst", *options)
    assert complaint in capsys.readouterr().err


def test_a_plot_needs_its_folder_before_anything_is_simulated(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no folder"):
        run("--load", "burst", "--plot", str(tmp_path / "none" / "laws.svg"))


def test_a_trace_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read .*trace\.csv: No such file"):
        run("--arrivals", str(tmp_path / "trace.csv"))
    with pytest.raises(UsageError, match="Is a directory"):
        run("--arrivals", str(tmp_path))
