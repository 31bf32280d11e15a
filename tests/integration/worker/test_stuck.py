"""What does not end by itself, at load, in the trial or while it serves, does not keep the worker from its end."""

import json
from collections.abc import Callable

import pytest

from inferqueue_core.jobs import JobStatus
from inferqueue_core.queue import RedisJobQueue
from inferqueue_worker.stopping import UNENDED
from support.jobs import status, submit_jobs
from support.programs import Worker
from support.redis_servers import RedisServer
from support.waiting import wait_until

Prepare = Callable[..., Worker]


@pytest.mark.parametrize("predictor", ["hanging", "heedful", "deaf", "busy"])
def test_sigterm_ends_a_start_that_hangs_at_once_with_0(
    prepare: Prepare, redis_server: RedisServer, predictor: str
) -> None:
    worker = prepare(redis_server, PREDICTOR=f"support.row_functions:{predictor}", TRIAL_SECONDS="300").launch()
    wait_until(lambda: "now it hangs" in worker.output)
    assert worker.terminate(timeout=10) == 0


@pytest.mark.parametrize("predictor", ["deaf", "busy"])
def test_a_trial_that_cannot_be_stopped_ends_the_start_with_a_sentence(
    prepare: Prepare, redis_server: RedisServer, predictor: str
) -> None:
    worker = prepare(redis_server, PREDICTOR=f"support.row_functions:{predictor}", TRIAL_SECONDS="0.2").launch()
    assert worker.wait() == 1
    entry = json.loads(worker.output.strip().splitlines()[-1])
    assert "the trial of the model does not end: a run of 1 row goes on after" in entry["message"]


def test_a_model_that_is_stopped_in_its_trial_is_served_without_batches(
    prepare: Prepare, redis_server: RedisServer
) -> None:
    worker = prepare(redis_server, PREDICTOR="support.row_functions:heedful", TRIAL_SECONDS="0.2").start()
    assert worker.told("batchable") == "False"
    assert "(TRIAL_SECONDS)" in worker.told("reason")


def test_a_thread_that_a_predictor_leaves_behind_is_ended_by_force(prepare: Prepare, redis_server: RedisServer) -> None:
    worker = prepare(redis_server, PREDICTOR="support.row_functions:leaving_a_thread", GRACE_SECONDS="0.1").start()
    assert worker.terminate() == UNENDED
    said = worker.line("the process ends by force: something goes on although it was told to stop")
    assert said is not None
    assert "left-behind" in said["threads"]


def test_a_busy_run_gives_its_job_back_and_does_not_keep_the_worker(
    queue: RedisJobQueue, prepare: Prepare, redis_server: RedisServer
) -> None:
    worker = prepare(redis_server, PREDICTOR="support.predictors:Negative", GRACE_SECONDS="0.1").start()
    (job_id,) = submit_jobs(queue, data=b"[998]")
    wait_until(lambda: status(queue, job_id) is JobStatus.PROCESSING)
    assert worker.terminate() == 0
    assert (queue.observe().length, queue.observe().in_flight) == (1, 0)
