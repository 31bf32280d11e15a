"""Label selectors, as Deployments use them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Expression:
    """One requirement: `operator` is In, NotIn, Exists or DoesNotExist."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def holds(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        match self.operator:
            case "In":
                return value is not None and value in self.values
            case "NotIn":
                return value is None or value not in self.values
            case "Exists":
                return value is not None
        return value is None


@dataclass(frozen=True, slots=True)
class Selector:
    """All of its expressions must hold."""

    expressions: tuple[Expression, ...]

    @classmethod
    def parse(cls, selector: Mapping[str, Any]) -> "Selector":
        """Read a `LabelSelector`."""
        equal = (Expression(key, "In", (value,)) for key, value in (selector.get("matchLabels") or {}).items())
        others = (
            Expression(part["key"], part["operator"], tuple(part.get("values") or ()))
            for part in selector.get("matchExpressions") or ()
        )
        return cls((*equal, *others))

    def matches(self, labels: Mapping[str, str]) -> bool:
        return all(expression.holds(labels) for expression in self.expressions)

    @property
    def required(self) -> tuple[str, str] | None:
        """One label that every match has, by which matches can be looked up; None when there is no such label."""
        for expression in self.expressions:
            if expression.operator == "In" and len(expression.values) == 1:
                return expression.key, expression.values[0]
        return None
