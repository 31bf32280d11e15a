"""How a model is served: by how many runners, and how much each takes."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from inferqueue_worker.timing import Timing
from support.onnx_models import doubling
from support.served import load


@pytest.mark.parametrize(("seconds_per_row", "runners", "jobs"), [(1e-6, 5, 256), (0.01, 4, 5), (None, 4, 1)])
def test_a_fast_model_gets_one_runner_more_and_many_jobs(
    tmp_path: Path, seconds_per_row: float | None, runners: int, jobs: int
) -> None:
    timings = () if seconds_per_row is None else (Timing(1, seconds_per_row),)
    served = load(tmp_path, doubling())
    model = replace(served, trial=replace(served.trial, timings=timings, max_rows=1))

    assert (model.runners(cpus=4), model.jobs_per_claim) == (runners, jobs)
