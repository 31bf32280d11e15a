"""The clients of PyTriton and KServe, unchanged from the index, are served; where they do not install, that is said.

Each runs in a process of its own: both bring the protocol's messages, and one process can hold them once only.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.programs import Proxy, Worker
from support.redis_servers import RedisServer
from support.waiting import wait_until


@pytest.fixture(scope="module", autouse=True)
def _worker(lasting_redis: RedisServer, proxy: Proxy) -> Iterator[None]:
    with Worker(lasting_redis.url):
        wait_until(lambda: httpx.get(f"{proxy.url}/v2/models/iris").is_success, what="Iris in the catalog")
        yield


def _seen(client: str, *needed: str, url: str) -> dict[str, Any]:
    missing = [package for package in needed if find_spec(package) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} of requirements/clients.txt is not installed here")
    program = Path(__file__).parents[1] / "support" / client
    done = subprocess.run([sys.executable, program, url], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return seen


def test_pytritons_clients(proxy: Proxy) -> None:
    seen = _seen("pytriton_client.py", "pytriton", "grpc", url=proxy.url)
    refusal = seen.pop("refusal")
    assert seen == {
        "takes_batches": True,
        "input_shapes": [[4]],
        "batch": [0, 2],
        "batch_by_name": [2, 3],
        "sample": 2,
        "futures": [0, 2],
        "asyncio": [0, 2],
    }
    assert "takes shape" in refusal


def test_kserves_client(proxy: Proxy) -> None:
    assert _seen("kserve_client.py", "kserve", "grpc", "pandas", url=proxy.url) == {
        "live": True,
        "ready": True,
        "model_ready": True,
        "binary": ["r1", "iris", [0, 2]],
        "json": ["r1", "iris", [0, 2]],
    }
