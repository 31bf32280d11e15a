"""`inferqueue up --max-workers` scales real workers by the law: up for a burst, down to none, and loses nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inferqueue import Client
from support.waiting import wait_until

Make = Callable[..., Any]
TESTS = Path(__file__).parents[2]
STEADY = {"PREDICTOR": "support.steady_predictor:make", "PYTHONPATH": str(TESTS), "RUNNERS": "1"}


def steady(repository: Path) -> tuple[str, ...]:
    """Name a model of the predictor's own, in a repository that only has its place."""
    place = repository / "steady" / "1" / "model.onnx"
    place.parent.mkdir(parents=True)
    place.touch()
    return ("--model-repository", str(repository), "--model", "steady")


def workers(client: Client) -> int:
    (queue,) = client.queues()
    return len(queue["workers"])


def desired(client: Client) -> int | None:
    (queue,) = client.queues()
    return None if queue["decision"] is None else int(queue["decision"]["desired_replicas"])


@pytest.mark.timeout(180)
def test_a_burst_brings_workers_and_quiet_takes_them_away(make_up: Make, tmp_path: Path) -> None:
    options = ("--max-workers", "3", "--max-wait", "2")
    up = make_up(*steady(tmp_path), *options, program="support.hasty_up", **STEADY).start()
    with Client(up.url, patience=30) as client:
        wait_until(lambda: workers(client) == 0, timeout=60, what="no worker while nothing waits")

        wait_until(lambda: desired(client) == 0, what="the decision for none")

        handles = client.submit_many([[float(number)] for number in range(60)])
        wait_until(lambda: desired(client) == 3, what="the decision for three")
        wait_until(lambda: workers(client) == 3, timeout=60, what="three workers for the burst")
        results = [handle.result(60) for handle in handles]

        assert results == [{"x": [2.0 * number]} for number in range(60)]
        wait_until(lambda: workers(client) == 0, timeout=60, what="no worker after the burst")

    assert "0 → 3 workers: 60 jobs wait and there is no worker" in up.output
    assert up.stop() == 0


def test_what_was_learned_outlives_it(make_up: Make, tmp_path: Path) -> None:
    up = make_up(*steady(tmp_path), "--max-workers", "1", "--min-workers", "1", **STEADY).start()
    up.stop()

    assert '"cold_starts": [' in (up.data_dir / "learned.json").read_text()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--min-workers", "2"), "--min-workers needs --max-workers"),
        (("--min-workers", "3", "--max-workers", "2"), "--min-workers 3 is more than --max-workers 2"),
        (("--max-wait", "5"), "--max-wait needs --max-workers"),
        (("--max-workers", "0"), "MAX_WORKERS"),
        (("--max-workers", "2", "--max-wait", "0"), "MAX_WAIT"),
    ],
)
def test_bounds_that_cannot_be_meant_are_refused(
    inferqueue: Callable[..., Any], options: tuple[str, ...], complaint: str
) -> None:
    ended = inferqueue("up", *options)

    assert ended.returncode == 2
    assert complaint in ended.stderr
