"""What a start must not pay for: each tenth of a second is one that the first jobs of a spike wait."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["prometheus_client", "wsgiref", "http.server", "onnxruntime", "yaml"])
def test_the_way_to_the_first_claim_does_without(module: str) -> None:
    code = f"import sys, inferqueue_worker.main; raise SystemExit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
