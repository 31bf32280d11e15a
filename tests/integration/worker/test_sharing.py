"""Jobs that take long are not hoarded by the worker that found them first."""

from collections import Counter
from collections.abc import Callable

from inferqueue_core.queue import RedisJobQueue
from inferqueue_worker.pace import GROWTH
from support.jobs import read, submit_jobs
from support.programs import Worker
from support.waiting import wait_until

Start = Callable[..., Worker]
Ended = Callable[[list[str]], bool]

# Turns of a loop: a tenth of a second and more. The trial takes one, so that it finds hundreds of jobs worth a claim.
SLOW, QUICK = b"[150000]", b"[1]"


def test_slow_jobs_are_claimed_a_few_at_a_time(queue: RedisJobQueue, start: Start, all_ended: Ended) -> None:
    ids = submit_jobs(queue, 12, SLOW)
    assert int(start(MODEL_NAME="alone").told("jobs_per_claim")) > 100
    held = set()

    def is_over() -> bool:
        held.add(queue.observe().in_flight)
        return all_ended(ids)

    wait_until(is_over, 60)
    assert max(held) <= GROWTH


def test_jobs_that_have_not_begun_pass_to_a_worker_that_has_nothing_to_do(
    queue: RedisJobQueue, start: Start, all_ended: Ended
) -> None:
    first = start(MODEL_NAME="alone")
    quick = submit_jobs(queue, 600, QUICK)
    wait_until(lambda: all_ended(quick), 60)
    slow = submit_jobs(queue, 40, SLOW)
    wait_until(lambda: queue.observe().in_flight == 40, what="one claim of all jobs")
    second = start(MODEL_NAME="alone")
    wait_until(lambda: all_ended(slow), 60)
    jobs = [read(queue, job_id) for job_id in slow]
    assert {job.attempts for job in jobs} == {1}
    shares = Counter(job.worker for job in jobs)
    assert shares.keys() == {worker.told("worker") for worker in (first, second)}
    assert min(shares.values()) >= 5
