"""One client goes to a bound of the worker again and again; ten good ones, served beside it, notice nothing."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from support.good_clients import Again, GoodClients, Question, question
from support.programs import Proxy, Worker
from support.redis_servers import RedisServer
from support.waiting import wait_until

Prepare = Callable[..., Worker]

# One job for each run, and runs of many jobs: in each case what a good client asks, and what a hostile one.
QUESTIONS: dict[str, list[Question]] = {
    "filling": [question("filling", [count], {"y": [1.5] * count}) for count in range(1, 20)],
    "widening": [question("widening", [[number]], {"y": [number] * 500}) for number in range(1, 20)],
}
TOO_MUCH: dict[str, Any] = {"filling": [500_000], "widening": [[0.123]] * 600}
MODELS = list(QUESTIONS)


def hostile_answers(worker: Worker, redis: RedisServer, model: str) -> list[Any]:
    """Return the ends of a hostile client's jobs, all of them unnoticed by ten good clients of the same worker."""
    with Proxy(redis.url) as proxy, httpx.Client(base_url=proxy.url, timeout=60) as http:
        await_model(http, model)

        def ask() -> Any:
            body = {"model": model, "data": TOO_MUCH[model]}
            return http.post("/predict", json=body, headers={"Prefer": "wait=60"}).json()

        with GoodClients(proxy.url, QUESTIONS[model]).at_work() as good, Again(ask).at_work() as hostile:
            hostile.await_outcomes(5)
            good.await_right(100)
    assert worker.output.count('"message": "ready"') == 1
    assert worker.terminate() == 0
    return hostile.outcomes


def await_model(http: httpx.Client, model: str) -> None:
    wait_until(lambda: http.get(f"/v2/models/{model}").is_success, what=f"{model} in the catalog")


@pytest.mark.parametrize(("model", "runners"), [("filling", "2"), ("widening", "1")])
def test_results_above_the_limit(prepare: Prepare, own_redis: RedisServer, model: str, runners: str) -> None:
    worker = prepare(own_redis, MODEL_NAME=model, MAX_RESULT_BYTES="20000", RUNNERS=runners).start()
    assert worker.told("batchable") == str(model == "widening")
    for job in hostile_answers(worker, own_redis, model):
        assert (job["status"], job["attempts"]) == ("failed", 1)
        size = {"filling": "2,000,001", "widening": "1,80"}[model]
        assert f"the result is too large: {size}" in job["error"]
        assert "bytes are more than 20,000, the limit (MAX_RESULT_BYTES)" in job["error"]


@pytest.mark.parametrize(
    ("model", "limit"), [("filling", "client-query-buffer-limit"), ("widening", "proto-max-bulk-len")]
)
def test_results_that_redis_refuses_although_it_answers(prepare: Prepare, model: str, limit: str) -> None:
    with RedisServer(f"--{limit}", "1mb") as redis:  # the least that can be asked for
        worker = prepare(redis, MODEL_NAME=model, RUNNERS="2").start()
        for job in hostile_answers(worker, redis, model):
            assert (job["status"], job["attempts"]) == ("failed", 1)
            size = {"filling": "2,000,007", "widening": "1,804,801"}[model]
            assert f"the result is too large for Redis: it has refused {size} bytes although it answers" in job["error"]


def test_trials_that_do_not_end_beside_a_worker_of_another_queue(prepare: Prepare, own_redis: RedisServer) -> None:
    good_worker = prepare(own_redis, MODEL_NAME="widening").start()
    endless = {"MODEL_NAME": "endless", "QUEUE_NAME": "endless", "TRIAL_SECONDS": "300", "GRACE_SECONDS": "20"}
    stuck = [
        prepare(own_redis, **endless).launch(),
        prepare(own_redis, **endless, PREDICTOR="support.row_functions:busy").launch(),
    ]
    with Proxy(own_redis.url) as proxy, httpx.Client(base_url=proxy.url) as http:
        await_model(http, "widening")
        with GoodClients(proxy.url, QUESTIONS["widening"]).at_work() as good:
            is_tried = "the model is being tried"
            wait_until(lambda: all(is_tried in worker.output for worker in stuck), 60, "trials that go on")
            good.await_right(50)
            for worker in stuck:
                assert worker.terminate(timeout=20) == 0
            good.await_right(50)
        assert [queue["name"] for queue in http.get("/queues").json()["queues"]] == ["predict_queue"]
    assert good_worker.terminate() == 0
