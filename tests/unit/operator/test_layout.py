"""The folder `operator/` must not shadow Python's own module of that name."""

import operator
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_folder_is_no_package_and_holds_no_modules() -> None:
    assert list((ROOT / "operator").glob("*.py")) == []
    assert operator.itemgetter(1)("ab") == "b"
