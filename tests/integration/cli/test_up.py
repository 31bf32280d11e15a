"""`inferqueue up`, from its start to its end."""

import os
import signal
import socket
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from inferqueue import Client, JobStatus
from support.redis_servers import RedisServer
from support.waiting import wait_until

FLOWER = [[5.1, 3.5, 1.4, 0.2]]
Make = Callable[..., Any]
Run = Callable[..., subprocess.CompletedProcess[str]]


def test_shows_how_to_begin(shared_up: Any) -> None:
    data = '{"data": [[5.1,3.5,1.4,0.2]]}'

    assert f"curl -s {shared_up.url}/predict -H 'content-type: application/json' -d '{data}'" in shared_up.output


@pytest.mark.parametrize("program", ["inferqueue_worker", "inferqueue_proxy", "redis.sock"])
def test_replaces_what_is_killed(shared_up: Any, program: str) -> None:
    before = shared_up.children(program)
    with Client(shared_up.url, patience=30) as client:
        handles = client.submit_many([FLOWER] * 200)
        os.kill(before[0], signal.SIGKILL)
        results = [handle.result(30) for handle in handles]

        wait_until(lambda: len(set(shared_up.children(program)) - set(before)) == 1, what=f"a new {program}")
        assert client.predict(FLOWER, timeout=30)["prediction"] == 0

    assert len(results) == 200
    assert len(shared_up.children(program)) == len(before)
    assert "was ended by SIGKILL; starting it again in " in shared_up.output


def test_a_terminal_ctrl_c_reaches_the_children_only_through_it(shared_up: Any) -> None:
    groups = {os.getpgid(child) for child in shared_up.children()}

    assert os.getpgid(shared_up.process.pid) not in groups


def test_a_second_one_on_the_same_data_is_refused(shared_up: Any, inferqueue: Run, inferqueue_process: Run) -> None:
    second = inferqueue_process("up", "--data-dir", str(shared_up.data_dir))

    assert second.returncode == 1
    assert f"(process {shared_up.process.pid}) is already running on" in second.stderr
    assert "--data-dir" in second.stderr
    assert inferqueue("dead", "list", "--data-dir", str(shared_up.data_dir)).returncode == 0


def test_ctrl_c_under_load_loses_nothing(make_up: Make) -> None:
    up = make_up().start()
    with Client(up.url) as client:
        ids = [handle.id for handle in client.submit_many([FLOWER] * 1000)]
    assert up.stop() == 0

    again = make_up().start()
    with Client(again.url) as client:
        wait_until(lambda: client.queues()[0]["counters"]["completed"] == 1000, what="all jobs done")
        results = [client.job(job_id).result(30) for job_id in ids[::20]]

    assert [result["class_name"] for result in results] == ["setosa"] * 50
    assert "ready to exit" in (up.data_dir / "logs" / "redis.log.1").read_text()
    assert again.stop() == 0


def test_goes_on_with_what_was_queued(make_up: Make) -> None:
    without_workers = make_up("--workers", "0").start()
    with Client(without_workers.url) as client:
        ids = [handle.id for handle in client.submit_many([FLOWER] * 100)]
        assert client.job(ids[0]).status() == JobStatus.PENDING
    assert without_workers.stop() == 0

    again = make_up("--workers", "1").start()
    with Client(again.url) as client:
        assert all(client.job(job_id).result(30)["prediction"] == 0 for job_id in ids)


def test_leaves_no_child_when_it_is_killed(make_up: Make, still_running: Callable[[int], bool]) -> None:
    up = make_up().start()
    children = up.children()
    assert len(children) == 5  # Redis, the proxy, two workers, the guard

    up.process.kill()
    up.process.wait()

    wait_until(lambda: not any(map(still_running, children)), what="end of all children")


def test_a_second_ctrl_c_ends_everything_at_once(make_up: Make, still_running: Callable[[int], bool]) -> None:
    up = make_up().start()
    children = up.children()
    (worker, _) = up.children("inferqueue_worker")
    os.kill(worker, signal.SIGSTOP)  # it cannot drain

    up.send(signal.SIGINT)
    wait_until(lambda: "Stopping" in up.output, what="the first Ctrl-C")
    wait_until(lambda: not still_running(worker) or up.send(signal.SIGINT), what="the second Ctrl-C")

    assert up.process.wait(30) == 130
    assert not any(map(still_running, children))


def test_a_taken_port_is_named(make_up: Make, still_running: Callable[[int], bool]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        up = make_up("--port", str(taken.getsockname()[1])).launch()

        assert up.process.wait(30) == 1

    assert "is taken by another program; choose another one with --port" in up.output


def test_a_model_that_does_not_load_ends_it_with_the_log(make_up: Make, tmp_path: Any) -> None:
    version = tmp_path / "models" / "broken" / "1"
    version.mkdir(parents=True)
    (version / "model.onnx").write_bytes(b"no model")
    up = make_up("--model-repository", str(tmp_path / "models"), "--model", "broken").launch()

    assert up.process.wait(60) == 1

    assert "ended with exit code 1 before it was ready. Its log," in up.output
    assert "model.onnx" in up.output


def test_an_unknown_model_is_named(make_up: Make) -> None:
    up = make_up("--model", "nope").launch()

    assert up.process.wait(30) == 2
    assert "there is no model 'nope' in 'models' (it holds iris)" in up.output


def test_uses_the_redis_that_is_named(make_up: Make, redis_server: RedisServer) -> None:
    up = make_up("--redis-url", redis_server.url).start()
    with Client(up.url) as client:
        handle = client.submit(FLOWER)
        handle.result(30)

    assert up.children("redis.sock") == []
    with redis_server.client() as client_of_redis:
        assert client_of_redis.get(f"job:{handle.id}:status") == b"completed"
    assert up.stop() == 0
    with redis_server.client() as client_of_redis:
        assert client_of_redis.ping()


def test_a_redis_that_does_not_answer_is_named(make_up: Make) -> None:
    up = make_up("--redis-url", "redis://127.0.0.1:1/0").launch()

    assert up.process.wait(30) == 1
    assert "Redis at redis://127.0.0.1:1/0" in up.output


def test_a_long_path_is_no_obstacle(tmp_path: Any, inferqueue: Run, make_up: Make) -> None:
    folder = tmp_path / ("long" * 25)
    up = make_up("--data-dir", str(folder), "--workers", "0", REDIS_PASSWORD="of another Redis").start()

    listed = inferqueue("dead", "list", "--json", "--data-dir", str(folder), REDIS_PASSWORD="of another Redis")

    assert (listed.returncode, listed.stdout) == (0, "[]\n")
    assert not (folder / "redis.sock").exists()
    assert up.stop() == 0


def test_sigterm_during_the_start_ends_it(make_up: Make) -> None:
    up = make_up().launch()
    wait_until(lambda: "Starting" in up.output, what="the start")

    up.send(signal.SIGTERM)

    assert up.process.wait(60) == 0
