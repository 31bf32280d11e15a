"""A queue belongs to one model: others are refused, hand-overs, and jobs that are somebody else's."""

import signal
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from inferqueue_core.ids import new_job_id
from inferqueue_core.jobs import JobStatus, JobTarget, NewJob, Submission
from inferqueue_core.queue import RedisJobQueue
from support.jobs import read, status, submit_jobs
from support.onnx_models import scaling, store
from support.programs import Worker
from support.redis_servers import RedisServer
from support.waiting import wait_until

Prepare = Callable[..., Worker]
FOR_TRIPLE = JobTarget(model="triple", version="1")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two-models")
    store(folder, scaling(2), "double")
    store(folder, scaling(3), "triple")
    return folder


def submit(queue: RedisJobQueue, target: JobTarget) -> str:
    job_id = new_job_id()
    queue.submit([Submission((NewJob(job_id, b"[[1]]", 0, target),))])
    return job_id


def result(queue: RedisJobQueue, job_id: str) -> object:
    return orjson.loads(read(queue, job_id).result or b"null")


def let_pass_silence(redis: RedisServer, queue: RedisJobQueue) -> None:
    """Move every heartbeat into the past, as if its worker had been silent for longer than any limit."""
    with redis.client() as client:
        for worker in queue.observe().workers:
            client.zadd(queue.keys.workers, {worker.name: 1})


def test_a_worker_refuses_the_queue_of_another_model(
    prepare: Prepare, redis_server: RedisServer, queue: RedisJobQueue
) -> None:
    prepare(redis_server, MODEL_NAME="double").start()
    other = prepare(redis_server, MODEL_NAME="triple").launch()
    assert other.wait() == 1
    message = orjson.loads(other.output.splitlines()[-1])["message"]
    for part in ("'predict_queue'", "'double'", "'triple'", "QUEUE_NAME"):
        assert part in message
    assert {*queue.models()} == {"double/1"}
    (job_id,) = submit_jobs(queue, data=b"[[1]]")
    wait_until(lambda: status(queue, job_id) is JobStatus.COMPLETED)
    assert result(queue, job_id) == {"y": [2.0]}


def test_of_two_models_that_start_together_one_gets_the_queue(
    prepare: Prepare, redis_server: RedisServer, queue: RedisJobQueue
) -> None:
    both = {name: prepare(redis_server, MODEL_NAME=name).launch() for name in ("double", "triple")}
    processes = [worker.process for worker in both.values() if worker.process is not None]
    wait_until(lambda: any(process.poll() is not None for process in processes), what="end of the one that came late")
    (winner,) = [name for name, worker in both.items() if worker.process and worker.process.poll() is None]
    wait_until(lambda: both[winner].line("ready"), what="the one that came first")
    assert sorted(process.poll() or 0 for process in processes) == [0, 1]
    assert queue.observe().model == winner
    assert {*queue.models()} == {f"{winner}/1"}


def test_a_queue_passes_to_another_model_when_its_workers_have_stopped(
    prepare: Prepare, redis_server: RedisServer, queue: RedisJobQueue
) -> None:
    first = prepare(redis_server, MODEL_NAME="double").start()
    assert first.terminate() == 0
    left = submit(queue, JobTarget(model="double", version="1"))
    second = prepare(redis_server, MODEL_NAME="triple").start()
    own = submit(queue, FOR_TRIPLE)
    wait_until(lambda: status(queue, own) is JobStatus.COMPLETED)
    assert (status(queue, left), read(queue, left).attempts) == (JobStatus.PENDING, 0)
    assert second.terminate() == 0
    prepare(redis_server, MODEL_NAME="double").start()
    wait_until(lambda: status(queue, left) is JobStatus.COMPLETED)
    assert (result(queue, own), result(queue, left)) == ({"y": [3.0]}, {"y": [2.0]})


def test_a_queue_passes_to_another_model_when_its_workers_were_killed(
    prepare: Prepare, redis_server: RedisServer, queue: RedisJobQueue
) -> None:
    prepare(redis_server, MODEL_NAME="double").start().kill()
    assert prepare(redis_server, MODEL_NAME="triple").launch().wait() == 1
    let_pass_silence(redis_server, queue)
    prepare(redis_server, MODEL_NAME="triple").start()
    assert queue.observe().model == "triple"


def test_a_worker_that_slept_while_its_queue_was_taken_answers_nothing_and_ends(
    prepare: Prepare, redis_server: RedisServer, queue: RedisJobQueue
) -> None:
    sleeper = prepare(redis_server, MODEL_NAME="double").start()
    sleeper.send(signal.SIGSTOP)
    let_pass_silence(redis_server, queue)
    taker = prepare(redis_server, MODEL_NAME="triple").start()
    taker.send(signal.SIGSTOP)
    ids = submit_jobs(queue, 20, data=b"[[1]]")
    sleeper.send(signal.SIGCONT)
    assert sleeper.wait() == 1
    assert "belongs to model 'triple'" in sleeper.output
    taker.send(signal.SIGCONT)
    wait_until(lambda: all(status(queue, job_id) is JobStatus.COMPLETED for job_id in ids))
    assert {orjson.dumps(result(queue, job_id)) for job_id in ids} == {b'{"y":[3.0]}'}


def test_jobs_of_another_model_go_to_its_queue_once_that_is_known(
    prepare: Prepare, redis_server: RedisServer, queue: RedisJobQueue
) -> None:
    worker = prepare(redis_server, MODEL_NAME="double").start()
    strays = [submit(queue, FOR_TRIPLE) for _ in range(3)]
    own = submit(queue, JobTarget(model="double", version="1"))
    wait_until(lambda: status(queue, own) is JobStatus.COMPLETED)
    assert [status(queue, job_id) for job_id in strays] == [JobStatus.PENDING] * 3
    assert worker.line("jobs that are not for this worker were set aside") is not None
    prepare(redis_server, MODEL_NAME="triple", QUEUE_NAME="triples").start()
    wait_until(lambda: all(status(queue, job_id) is JobStatus.COMPLETED for job_id in strays))
    assert [result(queue, job_id) for job_id in strays] == [{"y": [3.0]}] * 3
    ran = read(queue, strays[0]).model
    assert ran is not None
    assert (ran.name, ran.version, ran.digest) == ("triple", "1", queue.models()["triple/1"].digest)
    assert queue.observe().counters["moved"] == 3


def test_a_data_that_does_not_fit_is_failed_with_both_versions(
    prepare: Prepare, redis_server: RedisServer, queue: RedisJobQueue
) -> None:
    """Made for a version that nobody serves: the worker of another one tries, where the job does not insist."""
    prepare(redis_server, MODEL_NAME="double").start()
    fits = submit(queue, JobTarget(model="double", version="7", signature="another"))
    job_id = new_job_id()
    queue.submit([Submission((NewJob(job_id, b"[[1, 2]]", 0, JobTarget(model="double", version="7")),))])
    wait_until(lambda: status(queue, job_id) is JobStatus.FAILED and status(queue, fits) is JobStatus.COMPLETED)
    error = read(queue, job_id).error or ""
    for part in ("version '7'", "version '1'", "model 'double'"):
        assert part in error
