"""What a start must not pay for: each tenth of a second is one that the first jobs of a spike wait."""

import subprocess
import sys
from pathlib import Path

import pytest

from support.onnx_models import store, unary


@pytest.mark.parametrize("module", ["prometheus_client", "wsgiref", "http.server", "onnxruntime", "yaml"])
def test_the_way_to_the_first_claim_does_without(module: str) -> None:
    code = f"import sys, inferqueue_worker.main; raise SystemExit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


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
