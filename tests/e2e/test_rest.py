"""What a system takes that has nothing to do."""

import json
from collections.abc import Callable

import pytest

from support.figures import Figures
from support.releases import Release

pytestmark = pytest.mark.e2e

MOST_MILLICORES = 20
MOST_MEGABYTES = 120
REST_SECONDS = 20

# CPU seconds and bytes in use of the container that this runs in, by either version of cgroups; its own start is over
# when it first looks.
_FOOTPRINT = """
import json, pathlib, time
root = pathlib.Path("/sys/fs/cgroup")
two = (root / "cgroup.controllers").exists()
def number(path, name=None):
    text = (root / path).read_text()
    return int(text) if name is None else int(dict(line.split() for line in text.splitlines())[name])
def cpu():
    return number("cpu.stat", "usage_usec") / 1e6 if two else number("cpuacct/cpuacct.usage") / 1e9
def memory():
    if two:
        return number("memory.current") - number("memory.stat", "inactive_file")
    return number("memory/memory.usage_in_bytes") - number("memory/memory.stat", "total_inactive_file")
began, used = time.monotonic(), cpu()
time.sleep(%d)
print(json.dumps([(cpu() - used) / (time.monotonic() - began), memory()]))
"""


def test_the_operator_is_small_at_rest(release: Release, figures: Figures, at_rest: Callable[..., None]) -> None:
    at_rest("iris", "quick", "steady", "long")
    (pod,) = release.pods("operator")
    command = ("exec", pod["metadata"]["name"], "--", "python", "-c", _FOOTPRINT % REST_SECONDS)
    cores, used = json.loads(release.kubectl.run(*command))
    cpu, memory = 1000 * cores, used / 1e6
    figures.hold(
        "operator at rest, four queues: CPU",
        f"{cpu:.1f} millicores",
        f"≤ {MOST_MILLICORES}",
        cpu <= MOST_MILLICORES,
    )
    figures.hold(
        "operator at rest, four queues: memory",
        f"{memory:.0f} MB",
        f"≤ {MOST_MEGABYTES} MB",
        memory <= MOST_MEGABYTES,
    )
