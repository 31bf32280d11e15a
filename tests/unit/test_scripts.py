"""Dockerfiles and shell scripts, all that there are, pass their linters."""

import re
import subprocess
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(sysconfig.get_path("scripts"))


def files() -> list[Path]:
    """Give the files of the project: those that git knows, or would take."""
    command = ("git", "ls-files", "--cached", "--others", "--exclude-standard")
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return [ROOT / name for name in names if (ROOT / name).is_file()]


def is_shell_script(path: Path) -> bool:
    with path.open("rb") as file:
        return path.suffix == ".sh" or re.match(rb"#!.*\b(ba)?sh\s", file.readline(80)) is not None


def findings(program: str, path: Path) -> str:
    done = subprocess.run([PROGRAMS / program, path], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


DOCKERFILES = [path for path in files() if path.name == "Dockerfile" or path.name.startswith("Dockerfile.")]
SCRIPTS = [path for path in files() if is_shell_script(path)]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_dockerfile_is_clean(path: Path) -> None:
    assert findings("hadolint", path) == ""


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_shell_script_is_clean(path: Path) -> None:
    assert findings("shellcheck", path) == ""


def test_the_images_share_one_layer_with_the_bytecode_of_the_standard_library() -> None:
    # What stands between FROM and LABEL: a layer is shared where all that was done before it is the same.
    stages = {path.read_text().rpartition("\nFROM ")[2].partition("\nLABEL ")[0] for path in DOCKERFILES}
    (stage,) = stages
    assert "python -m compileall" in stage


def test_none_is_overlooked() -> None:
    assert {path.parent.name for path in DOCKERFILES} >= {"proxy", "worker", "operator"}
    assert {path.name for path in SCRIPTS} >= {"run", "redis-start.sh"}
