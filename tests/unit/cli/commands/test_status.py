"""How queues are shown."""

import io
from typing import Any

from rich.console import Console

from inferqueue.commands.status import queue_overview


def queue(name: str, decision: dict[str, Any] | None) -> dict[str, Any]:
    numbers = dict.fromkeys(("length", "in_flight", "delayed", "dead"), 0)
    rates: dict[str, Any] = {"submit_rate": 0.0, "finish_rate": 0.0, "oldest_age_seconds": None}
    return {"name": name, "models": [], "workers": [], "decision": decision} | numbers | rates


def shown(*queues: dict[str, Any]) -> list[str]:
    file = io.StringIO()
    Console(file=file, width=120).print(queue_overview(list(queues)))
    return [line.rstrip() for line in file.getvalue().splitlines()]


def test_the_last_decision_stands_below_the_table_for_those_that_are_scaled() -> None:
    decision = {
        "desired_replicas": 3,
        "replicas": 1,
        "reason": "Deadline",
        "message": "job 9 of 9 would be late [by 2 s]",
    }
    lines = shown(queue("iris", decision), queue("rose", None))
    assert [line.split()[0] for line in lines[:3]] == ["QUEUE", "iris", "rose"]
    assert lines[3:] == ["iris: workers wanted: 3 (Deadline), job 9 of 9 would be late [by 2 s]"]
