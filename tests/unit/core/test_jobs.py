"""Which states are final."""

import pytest

from inferqueue_core.jobs import JobStatus, WorkerReport
from inferqueue_core.wire import read_json


@pytest.mark.parametrize("status", list(JobStatus))
def test_a_job_is_over_unless_it_waits_or_runs(status: JobStatus) -> None:
    assert status.is_final == (status not in (JobStatus.PENDING, JobStatus.PROCESSING))


def test_a_report_of_a_newer_worker_is_read() -> None:
    assert read_json(b'{"jobs": 3, "invented_later": 1}', WorkerReport).jobs == 3
