"""The commands beside `up`, as a person or a script runs them."""

import itertools
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from inferqueue import Client
from inferqueue_core.jobs import JobStatus, NewJob, Retry, Submission
from inferqueue_core.queue import RedisJobQueue
from support.programs import Proxy
from support.redis_servers import RedisServer
from support.waiting import wait_until

FLOWER = "[[5.1, 3.5, 1.4, 0.2]]"
Run = Callable[..., subprocess.CompletedProcess[str]]


def test_submit_then_wait(shared_up: Any, inferqueue_process: Run) -> None:
    submitted = inferqueue_process("submit", FLOWER, INFERQUEUE_URL=shared_up.url)
    waited = inferqueue_process("wait", submitted.stdout.strip(), "--url", shared_up.url)

    assert (submitted.returncode, waited.returncode) == (0, 0)
    assert json.loads(waited.stdout)["class_name"] == "setosa"
    assert waited.stderr == ""


def test_submit_and_wait_in_one(shared_up: Any, inferqueue: Run, tmp_path: Path) -> None:
    file = tmp_path / "flowers.json"
    file.write_text(FLOWER)

    from_file = inferqueue("submit", "--wait", "--json", f"@{file}", "--model", "iris", "--url", shared_up.url)
    from_pipe = inferqueue("submit", "--wait", "-", "--url", shared_up.url, stdin=FLOWER)

    assert json.loads(from_file.stdout)["status"] == "completed"
    assert json.loads(from_file.stdout)["result"] == json.loads(from_pipe.stdout)


def test_wait_for_several(shared_up: Any, inferqueue: Run) -> None:
    with Client(shared_up.url) as client:
        ids = [handle.id for handle in client.submit_many([[[5.1, 3.5, 1.4, 0.2]]] * 3)]

    waited = inferqueue("wait", *ids, "--url", shared_up.url)

    assert [line.split("\t")[0] for line in waited.stdout.splitlines()] == ids


def test_status(shared_up: Any, inferqueue: Run) -> None:
    with Client(shared_up.url) as client:
        handle = client.submit([[5.1, 3.5, 1.4, 0.2]])
        handle.result(30)

    job = inferqueue("status", handle.id, "--url", shared_up.url)
    job_json = inferqueue("status", handle.id, "--json", "--url", shared_up.url)
    queues = inferqueue("status", "--url", shared_up.url)
    queues_json = inferqueue("status", "--json", "--url", shared_up.url)

    assert "status     completed" in job.stdout
    assert json.loads(job_json.stdout)["job_id"] == handle.id
    assert "predict_queue  iris" in queues.stdout
    assert json.loads(queues_json.stdout)[0]["name"] == "predict_queue"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("submit", "[[1.0, 2.0]]"), 1, "data"),
        (("submit", FLOWER, "--model", "nope"), 1, "nope"),
        (("status", "unknown"), 1, "there is no job 'unknown'"),
        (("wait", "unknown"), 1, "there is no job 'unknown'"),
        (("submit", "[1"), 2, "DATA is not JSON"),
        (("submit", "@/nowhere"), 2, "cannot read /nowhere"),
        (("submit", FLOWER, "--idempotency-key", "é"), 2, "printable ASCII"),
        (("status", "--url", "http://127.0.0.1:9"), 3, "inferqueue up"),
        (("status", "--url", "localhost:9"), 2, "http://"),
        (("dead", "list", "--redis-url", "redis://127.0.0.1:1"), 3, "Redis does not answer"),
        (("dead", "redrive"), 2, "--all"),
        (("dead", "purge"), 2, "--all"),
        (("dead", "purge", "--oldest", "1", "--all"), 2, "--all"),
        (("dead", "purge", "--oldest", "0"), 2, "--oldest"),
        (("top", "--url", "http://127.0.0.1:9"), 3, "inferqueue up"),
        (("top", "--url", "localhost:9"), 2, "http://"),
        (("top", "--interval", "nan"), 2, "'nan' is no number of seconds from 0 to"),
        (("top", "--interval", "-1"), 2, "'-1' is no number of seconds"),
        (("top", "--count", "-1"), 2, "'-1' is no whole number above 0"),
        (("top", "--count", "many"), 2, "'many' is no whole number above 0"),
        (("nope",), 2, "invalid choice"),
        ((), 2, "usage: inferqueue"),
    ],
)
def test_exit_codes(shared_up: Any, inferqueue: Run, arguments: tuple[str, ...], code: int, words: str) -> None:
    ended = inferqueue(*arguments, INFERQUEUE_URL=shared_up.url)

    assert (ended.returncode, ended.stdout) == (code, "")
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_wait_that_is_too_short(redis_server: RedisServer, queue: RedisJobQueue, inferqueue: Run) -> None:
    queue.submit([Submission((NewJob("j", FLOWER.encode()),))])
    with Proxy(redis_server.url) as proxy:
        waited = inferqueue("wait", "j", "--timeout", "0.1", "--url", proxy.url)

    assert waited.returncode == 1
    assert "j has not ended within 0.1 s" in waited.stderr


def test_dead_letters_are_listed_and_put_back(redis_server: RedisServer, queue: RedisJobQueue, inferqueue: Run) -> None:
    queue.submit([Submission((NewJob("a", b"[1]"), NewJob("b", b"[2]")))])
    for _ in range(3):
        claim = queue.claim("w", 2, 1000)
        queue.retry([Retry(job, 0, "no memory") for job in claim.jobs])
        queue.reap()

    listed = inferqueue("dead", "list", REDIS_URL=redis_server.url)
    listed_json = inferqueue("dead", "list", "--json", REDIS_URL=redis_server.url)
    one = inferqueue("dead", "redrive", "a", "--redis-url", redis_server.url)
    again = inferqueue("dead", "redrive", "a", "--redis-url", redis_server.url)
    others = inferqueue("dead", "redrive", "--all", "--json", "--redis-url", redis_server.url)

    assert "no memory" in listed.stdout
    assert {letter["job_id"] for letter in json.loads(listed_json.stdout)} == {"a", "b"}
    assert (one.returncode, one.stdout) == (0, "a  waiting\n")
    assert (again.returncode, again.stdout) == (1, "a  not dead\n")
    assert json.loads(others.stdout) == [{"job_id": "b", "outcome": "waiting"}]
    assert queue.observe().length == 2


def test_dead_letters_are_given_up_oldest_first(
    redis_server: RedisServer, queue: RedisJobQueue, inferqueue: Run
) -> None:
    queue.submit([Submission(tuple(NewJob(job_id, b"[1]") for job_id in ("a", "b", "c")))])
    for _ in range(3):
        queue.retry([Retry(job, 0, "no memory") for job in queue.claim("w", 3, 1000).jobs])
        queue.reap()
    newest = queue.dead_letters()[0].job_id

    two = inferqueue("dead", "purge", "--oldest", "2", "--redis-url", redis_server.url)
    left = [letter.job_id for letter in queue.dead_letters()]
    others = inferqueue("dead", "purge", "--all", "--json", "--redis-url", redis_server.url)

    assert (two.returncode, two.stdout) == (0, "2 dead letters of queue 'predict_queue' are given up\n")
    assert left == [newest]
    assert json.loads(others.stdout) == {"purged": 1}
    observation = queue.observe()
    assert (observation.dead, observation.dead_bytes, observation.missing) == (0, 0, 0)
    assert [job.status for job in queue.jobs(["a", "b", "c"]) if job] == [JobStatus.FAILED] * 3
    with redis_server.client() as client:
        assert client.exists("job:a:data", "job:b:data", "job:c:data") == 0


@pytest.mark.parametrize(
    "command",
    [
        *((), ("up",), ("submit",), ("wait",), ("status",), ("top",)),
        *(("dead",), ("dead", "redrive"), ("dead", "purge")),
    ],
)
def test_help(inferqueue: Run, command: tuple[str, ...]) -> None:
    helped = inferqueue(*command, "--help")

    assert helped.returncode == 0
    assert helped.stdout.startswith(" ".join(["usage: inferqueue", *command]))


@pytest.mark.parametrize("command", ["status", "top --interval 0.1", "top --interval 0.1 --json"])
def test_a_reader_that_has_gone_is_no_error(shared_up: Any, command: str) -> None:
    piped = f"{sys.executable} -m inferqueue {command} --url {shared_up.url} | true"

    ended = subprocess.run(["/bin/sh", "-c", piped], capture_output=True, text=True, check=False, timeout=30)

    assert ended.stderr == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ("submit", FLOWER, "--deadline-seconds", "nan"),
        ("submit", FLOWER, "--wait", "--timeout", "-1"),
        ("wait", "job", "--timeout", "inf"),
        ("top", "--interval", "inf"),
        ("top", "--count", "-1"),
        ("dead", "list", "--limit", "0"),
    ],
)
def test_numbers_that_mean_nothing(inferqueue: Run, arguments: tuple[str, ...]) -> None:
    ended = inferqueue(*arguments)

    assert ended.returncode == 2
    assert f"argument {arguments[-2]}: '{arguments[-1]}' is no" in ended.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_output_that_cannot_be_written_is_one_line(shared_up: Any) -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "inferqueue", "status", "--url", shared_up.url]
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)

    assert ended.returncode == 1
    assert ended.stderr == "inferqueue: [Errno 28] No space left on device\n"


def test_who_stops_waiting_is_told_the_job(redis_server: RedisServer) -> None:
    with Proxy(redis_server.url) as proxy:
        command = [sys.executable, "-m", "inferqueue", "submit", "--wait", FLOWER, "--url", proxy.url]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as waiting:
            gauge = "inferqueue_waiting_clients 1.0"
            wait_until(lambda: gauge in httpx.get(proxy.metrics_url).text, what="the waiting client")
            waiting.send_signal(signal.SIGINT)
            _, told = waiting.communicate(timeout=20)
        job_id = told.split()[-1]
        assert (waiting.returncode, httpx.get(f"{proxy.url}/job/{job_id}").json()["status"]) == (130, "pending")


def test_top_in_a_pipe_writes_each_look_when_it_is_taken(shared_up: Any) -> None:
    for options in ((), ("--json",)):
        command = [sys.executable, "-m", "inferqueue", "top", "--url", shared_up.url, "--interval", "0.1", *options]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as top:
            assert top.stdout is not None
            lines = iter(top.stdout.readline, "")
            looks = [line for line in itertools.islice(lines, 12) if "predict_queue" in line and "iris" in line]
            top.send_signal(signal.SIGINT)
        assert len(looks) > 1
