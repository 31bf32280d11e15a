"""Documentation: its links lead somewhere, and what it names of the charts is there."""

import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.charts import OPERATOR, RELEASE, render
from support.runbooks import scripts

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
# Parts of names that are no objects: images, programs, and what the reader puts in.
NO_OBJECTS = {"inferqueue-operator", "inferqueue-proxy", "inferqueue-worker"}


def anchors(page: Path) -> set[str]:
    """Give the anchors that a forge makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    # A link may be broken over two lines; what stands in code is none.
    text = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        whither = (page.parent / path).resolve() if path else page
        assert whither.exists(), target
        assert not anchor or anchor in anchors(whither), target


@cache
def values() -> dict[str, Any]:
    whole: dict[str, Any] = yaml.safe_load((RELEASE / "values.yaml").read_text())
    operator: dict[str, Any] = yaml.safe_load((OPERATOR / "values.yaml").read_text())
    return whole | {"operator": operator | whole["operator"], "workers": {"NAME": whole["workerDefaults"]}}


def paths() -> list[str]:
    """Give the values that are named in the text and in commands."""
    named = re.findall(r"`([a-zA-Z]+(?:\.[a-zA-Z]+)+)`", OPERATIONS) + re.findall(r"--set '?([\w.]+)=", OPERATIONS)
    return sorted({path for path in named if path.partition(".")[0] in values()} - {"queue.redis.secretRef"})


@pytest.mark.parametrize("path", paths())
def test_every_value_that_is_named_is_one(path: str) -> None:
    below: Any = values()
    for part in path.split("."):
        assert part in below, path
        below = below[part]


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "docs" / "operations.md"], ids=lambda page: page.name)
def test_every_object_that_is_named_is_one(page: Path) -> None:
    objects = render(RELEASE, ROOT / "k8s" / "spike.yaml", release="inferqueue")
    names = {item["metadata"]["name"] for item in objects} | NO_OBJECTS
    names |= {"inferqueue-redis-0", "data-inferqueue-redis-0", "kind-inferqueue", "inferqueue-control-plane"}
    code = " ".join(re.findall(r"```.*?```|`[^`]*`", page.read_text(), re.DOTALL))
    for name in re.findall(r"(?<![\w./-])(?:data-)?inferqueue-[a-z0-9-]+(?![\w.]*\.md)", code):
        assert name.rstrip("-") in names, name


def test_every_command_for_operations_is_one_that_a_shell_can_read() -> None:
    headings = re.findall(r"^## (.+)$", OPERATIONS, re.MULTILINE)
    for script in (script for heading in headings for script in scripts(heading)):
        done = subprocess.run(["bash", "-n", "-c", script], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{script}\n{done.stderr}"


def test_the_runbooks_that_tests_follow_are_whole() -> None:
    (password,) = scripts("Change the password of Redis")
    assert password.splitlines()[-1] == "kubectl rollout restart statefulset inferqueue-redis"
    backup, restore, mend = scripts("Backup and restore of the append-only file")
    assert "> redis-aof.tar" in backup
    assert restore.splitlines()[-1] == "kubectl rollout status statefulset inferqueue-redis"
    assert "--fix" in mend
