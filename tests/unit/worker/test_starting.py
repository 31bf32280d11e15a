"""What a start must not pay for: each tenth of a second is one that the first jobs of a spike wait."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["prometheus_client", "wsgiref", "http.server", "onnxruntime", "yaml"])
def test_the_way_to_the_first_claim_does_without(module: str) -> None:
    code = f"import sys, inferqueue_worker.main; raise SystemExit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


def test_loading_a_model_does_without_what_is_dear_to_import() -> None:
    code = """
import sys
from pathlib import Path
from inferqueue_worker.repository import find_model
from inferqueue_worker.served_model import load_model

assert load_model(find_model(Path("models"), "iris"), None, 1).trial.batchable
raise SystemExit("numpy.random" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
