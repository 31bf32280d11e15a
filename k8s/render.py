"""Writes k8s/base, a kustomize base, from the charts: the same objects for those who do not use Helm.

It needs the program `helm` (3 or 4). With a folder as its argument it writes there instead.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BASE = ROOT / "k8s" / "base"
# The password of Redis is its user's to make, so the base names a Secret and holds none.
COMMAND = (
    *("helm", "template", "inferqueue", str(ROOT / "charts" / "inferqueue"), "--namespace", "inferqueue"),
    *("--include-crds", "--no-hooks", "--set", "redis.auth.existingSecret=inferqueue-redis"),
)
HEADER = "# Made from the charts by `make manifests`; what is changed here is lost. Change it in an overlay.\n"
KUSTOMIZATION = """\
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: inferqueue
resources:
"""


def render() -> str:
    """Give what Helm makes of the charts, as if for a release `inferqueue` in a namespace of the same name."""
    with tempfile.TemporaryDirectory() as folder:
        homes = {f"HELM_{name}_HOME": folder for name in ("CACHE", "CONFIG", "DATA")}
        done = subprocess.run(COMMAND, env=os.environ | homes, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"helm could not render the charts: {done.stderr.strip()}")
    return done.stdout


def split(rendered: str) -> dict[str, str]:
    """Give the objects by the file that they belong in: one for each part of the system, and one for the CRD."""
    files: dict[str, str] = {}
    for document in re.split(r"^---\n", rendered, flags=re.MULTILINE):
        source = re.match(r"# Source: inferqueue/(charts/)?([^/]+)/(.*)\n", document)
        if source is None:
            continue
        _, folder, rest = source.groups()
        part = file_of(folder, rest)
        if part is not None:
            files[part] = files.get(part, HEADER) + "---\n" + tidy(document[source.end() :])
    return files


def file_of(folder: str, rest: str) -> str | None:
    """Name the file for what was made from a template; None for what only Helm has a use for."""
    if folder == "operator":
        return "crd.yaml" if rest.startswith("crds/") else "operator.yaml"
    part = rest.partition("/")[0]
    if part == "tests":
        return None
    return "account.yaml" if part == "serviceaccount.yaml" else f"{part}.yaml"


def tidy(document: str) -> str:
    """Take away what says that Helm manages the object."""
    lines = [line for line in document.rstrip().splitlines() if "helm.sh/" not in line]
    return "\n".join(lines).replace("managed-by: Helm", "managed-by: kustomize") + "\n"


def write(folder: Path) -> None:
    """Write the base anew, with nothing in it that is no longer made."""
    files = split(render())
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("*.yaml"):
        stale.unlink()
    for name, text in files.items():
        (folder / name).write_text(text)
    listed = "".join(f"  - {name}\n" for name in sorted(files))
    (folder / "kustomization.yaml").write_text(HEADER + KUSTOMIZATION + listed)


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else BASE)
