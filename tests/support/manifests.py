"""The project's own manifests, and what a Role allows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

_CHART = Path(__file__).parents[2] / "charts" / "inferqueue-operator"
CRD = _CHART / "crds" / "inferqueues.yaml"
ROLE = _CHART / "role.yaml"


class Rules:
    """What a Role allows: `(group, resource, verb, name) in rules`."""

    def __init__(self, role: Mapping[str, Any]) -> None:
        self._rules = role["rules"]

    def __contains__(self, request: tuple[str, str, str, str]) -> bool:
        group, resource, verb, name = request
        return any(
            group in rule["apiGroups"]
            and resource in rule["resources"]
            and verb in rule["verbs"]
            and name in rule.get("resourceNames", [name])
            for rule in self._rules
        )


def rules_of(role: Mapping[str, Any]) -> Rules:
    return Rules(role)
