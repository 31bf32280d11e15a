"""A program that is told to end while it starts ends."""

import subprocess
import sys

import pytest


def run(code: str) -> int:
    return subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode


def test_sigterm_ends_a_program_before_it_has_a_handler_of_its_own() -> None:
    raised = "import signal; signal.raise_signal(signal.SIGTERM); raise SystemExit(3)"
    assert run(f"from inferqueue_core.starting import heed_sigterm; heed_sigterm(); {raised}") == 0


@pytest.mark.parametrize("program", ["proxy", "worker", "operator"])
def test_a_program_heeds_sigterm_before_it_imports_the_rest_of_itself(program: str) -> None:
    loaded = f"'inferqueue_{program}.main' in sys.modules"
    assert run(f"import sys, inferqueue_{program}.__main__; raise SystemExit(int({loaded}))") == 0


def test_what_is_imported_is_not_looked_through_again() -> None:
    made = "import gc; from inferqueue_core.starting import importing\nwith importing(): import decimal"
    assert run(f"{made}\nraise SystemExit(int(not gc.isenabled() or gc.get_freeze_count() == 0))") == 0
