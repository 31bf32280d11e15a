"""kubectl as tests use it: one context, one namespace, answers as values."""

import json
import subprocess
from typing import Any, Self

import yaml

from support.commands import CommandFailedError, run

Body = dict[str, Any]


class Kubectl:
    """kubectl for one context and namespace; never the user's current ones."""

    def __init__(self, context: str, namespace: str = "default") -> None:
        self.context = context
        self.namespace = namespace

    def within(self, namespace: str) -> Self:
        """Give the same for another namespace."""
        return type(self)(self.context, namespace)

    def command(self, *arguments: str) -> tuple[str, ...]:
        return ("kubectl", "--context", self.context, "--namespace", self.namespace, *arguments)

    def run(self, *arguments: str, stdin: str | None = None, timeout: float = 120) -> str:
        """Run kubectl and give its output; raises CommandFailedError."""
        return run(*self.command(*arguments), stdin=stdin, timeout=timeout)

    def json(self, *arguments: str) -> Body:
        """Run `get` or the like and give the object that it shows."""
        shown: Body = json.loads(self.run(*arguments, "--output", "json"))
        return shown

    def apply(self, *objects: Body) -> str:
        return self.run("apply", "--filename", "-", stdin=yaml.safe_dump_all(objects))

    def refusal(self, manifest: Body) -> str:
        """Apply what must be refused, and give the words of the refusal."""
        try:
            self.apply(manifest)
        except CommandFailedError as error:
            return error.output
        raise AssertionError(f"the cluster took what it should have refused: {manifest}")

    def exists(self, kind: str, name: str) -> bool:
        return bool(self.run("get", kind, name, "--ignore-not-found", "--output", "name").strip())

    def items(self, kind: str, selector: str = "") -> list[Body]:
        found: list[Body] = self.json("get", kind, "--selector", selector)["items"]
        return found

    def may(self, user: str, verb: str, resource: str, subresource: str = "") -> bool:
        """Ask whether `user` may do that in this namespace; `resource` may be one object: kind/name."""
        part = ("--subresource", subresource) if subresource else ()
        try:
            answer = self.run("auth", "can-i", verb, resource, *part, "--as", user)
        except CommandFailedError as error:  # `no` is an answer, with 1 as its code
            answer = error.output
        return answer.strip().splitlines()[-1] == "yes"

    def stream(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a kubectl that goes on writing lines until it is ended."""
        return subprocess.Popen(
            self.command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, bufsize=1
        )
