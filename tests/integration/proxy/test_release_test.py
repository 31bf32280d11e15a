"""The script of `helm test`, run against a real proxy."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.charts import render
from support.ports import free_port
from support.programs import Proxy
from support.redis_servers import RedisServer

IRIS = '{"data": [[5.1, 3.5, 1.4, 0.2]]}'


def helm_test(address: str, body: str = IRIS, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run it as the pod does."""
    container = render().pod("-test").container("predict")
    _, flag = container["command"]
    told = {"PROXY": address, "BODY": body, "TIMEOUT_SECONDS": "20"} | environment
    command = [sys.executable, flag, *container["args"]]
    return subprocess.run(command, env=os.environ | told, capture_output=True, text=True, check=False, timeout=60)


def test_it_ends_well_with_an_answer(iris_proxy: Proxy) -> None:
    done = helm_test(iris_proxy.url)
    assert done.returncode == 0, done.stderr
    assert '"class_name": "setosa"' in done.stdout


def test_a_request_that_the_model_cannot_take_ends_it_at_once(iris_proxy: Proxy) -> None:
    done = helm_test(iris_proxy.url, '{"data": [[1.0]]}', TIMEOUT_SECONDS="3600")
    assert done.returncode == 1
    assert done.stderr.startswith(f"{iris_proxy.url}/predict: 422 ")


def test_a_job_that_nobody_takes_is_named(bare_proxy: Proxy) -> None:
    done = helm_test(bare_proxy.url, TIMEOUT_SECONDS="1")
    assert done.returncode == 1
    assert "is still pending: is there a worker for its queue?" in done.stderr


def test_a_proxy_that_is_away_is_named() -> None:
    address = f"http://127.0.0.1:{free_port()}"
    done = helm_test(address, TIMEOUT_SECONDS="0.5")
    assert done.returncode == 1
    assert done.stderr.startswith(f"{address}/predict: ")
    assert "refused" in done.stderr


def test_the_first_api_key_is_sent(tmp_path: Path, bare_redis: RedisServer) -> None:
    keys = tmp_path / "keys"
    keys.write_text("first\nsecond\n")
    with Proxy(bare_redis.url, API_KEYS_FILE=str(keys)) as proxy:
        refused = helm_test(proxy.url)
        admitted = helm_test(proxy.url, TIMEOUT_SECONDS="0.5", API_KEYS_FILE=str(keys))
    assert (refused.returncode, "401" in refused.stderr) == (1, True)
    assert "posted" in admitted.stdout


@pytest.mark.parametrize("name", ["PROXY", "BODY", "TIMEOUT_SECONDS"])
def test_the_pod_sets_what_the_script_asks_for(name: str) -> None:
    container = render().pod("-test").container("predict")
    assert name in {env["name"] for env in container["env"]}
    assert f'"{name}"' in container["args"][0] or f"'{name}'" in container["args"][0]
