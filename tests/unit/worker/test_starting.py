"""What a start must not pay for: each tenth of a second is one that the first jobs of a spike wait."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from inferqueue_worker.cpu import cpu_budget
from support.onnx_models import store, unary


@pytest.mark.parametrize("module", ["prometheus_client", "wsgiref", "http.server", "onnxruntime", "yaml"])
def test_the_way_to_the_first_claim_does_without(module: str) -> None:
    code = f"import sys, inferqueue_worker.main; raise SystemExit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


CHECK = """
import sys
import threading
import time
from pathlib import Path
from inferqueue_worker.__main__ import start

patience = float(sys.argv[1])
sys.argv = ["inferqueue-worker", "check", "models/iris/1/model.onnx"]
try:
    start()
except SystemExit:
    # A thread of Python's that has just ended may still be there for a moment.
    until = time.monotonic() + patience
    more = 1
    while more and time.monotonic() < until:
        more = len(list(Path("/proc/self/task").iterdir())) - threading.active_count()
    print(more)
"""


def threads_of_libraries(patience: float, **settings: str) -> int:
    """Return how many threads a check has that are not Python's, after so many seconds if they do not end before."""
    command = (sys.executable, "-c", CHECK, str(patience))
    inherited = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    done = subprocess.run(command, env=inherited | settings, stdout=subprocess.PIPE, timeout=60, check=True, text=True)
    return int(done.stdout.splitlines()[-1])


@pytest.mark.skipif(cpu_budget() < 2, reason="on a single CPU there is one thread anyway")
def test_numpy_starts_no_threads_unless_it_is_told_to() -> None:
    assert threads_of_libraries(30) == 0
    assert threads_of_libraries(0, OPENBLAS_NUM_THREADS="2") > 0


LOAD = """
import sys
from pathlib import Path
from inferqueue_worker.repository import find_model
from inferqueue_worker.served_model import load_model

load_model(find_model(Path(sys.argv[1]), sys.argv[2]), None, 1)
raise SystemExit(sys.argv[3] in sys.modules)
"""


def loads_without(module: str, repository: Path, name: str) -> bool:
    command = (sys.executable, "-c", LOAD, repository, name, module)
    return subprocess.run(command, timeout=60, check=False).returncode == 0


def test_made_up_rows_are_random_without_what_is_dear_to_import() -> None:
    assert loads_without("numpy.random", Path("models"), "iris")


def test_the_nodes_of_a_model_that_takes_one_row_are_not_read(tmp_path: Path) -> None:
    store(tmp_path, unary("Neg", [1, 4]), "one")
    store(tmp_path, unary("Neg", ["rows", 4]), "many")
    assert loads_without("inferqueue_worker.graph.reading", tmp_path, "one")
    assert not loads_without("inferqueue_worker.graph.reading", tmp_path, "many")
