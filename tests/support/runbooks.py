"""The commands of docs/operations.md, run as they stand there."""

import os
import re
from pathlib import Path

from support.commands import run
from support.kubectl import Kubectl

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


def scripts(heading: str) -> list[str]:
    """Give the console blocks below a heading of the page, without their prompts."""
    section = re.split(rf"^## {re.escape(heading)}$", OPERATIONS.read_text(), flags=re.MULTILINE)[1]
    section = re.split(r"^## ", section, flags=re.MULTILINE)[0]
    blocks = re.findall(r"^```console\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    return [re.sub(r"^\$ ", "", block, flags=re.MULTILINE) for block in blocks]


class Runbook:
    """Follows the page for a release `inferqueue` in the namespace of a Kubectl."""

    def __init__(self, kubectl: Kubectl, folder: Path) -> None:
        self._folder = folder
        self._environment = os.environ | {"KUBECONFIG": str(folder / "kubeconfig")}
        # The page's commands are for kubectl's current context and namespace.
        config = kubectl.run("config", "view", "--minify", "--flatten")
        folder.joinpath("kubeconfig").write_text(config)
        folder.joinpath("kubeconfig").chmod(0o600)
        set_context = ("config", "set-context", "--current", "--namespace", kubectl.namespace)
        run("kubectl", *set_context, env=self._environment)

    def follow(self, heading: str, block: int = 0) -> str:
        """Run one of the blocks below a heading; give what it wrote.

        A command that fails ends nothing: the page tells of some that may, and what has come of it all is for the test
        to see.
        """
        script = f"cd '{self._folder}'\nexec 2>&1\n{scripts(heading)[block]}\ntrue"
        said = run("bash", "-c", script, env=self._environment, timeout=300)
        print(said)  # pytest shows it when the test has failed
        return said
