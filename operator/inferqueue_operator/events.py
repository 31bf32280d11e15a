"""Kubernetes Events: one for each transition, none for what stays as it is."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Event:
    """What happened, in one CamelCase word and one sentence."""

    reason: str
    message: str
    kind: Literal["Normal", "Warning"] = "Normal"


def scaled(deployment: str, before: int, after: int, why: str) -> Event:
    """Name a change of replicas."""
    if after == 0:
        reason = "ScaledToZero"
    elif before == 0:
        reason = "ActivatedFromZero"
    else:
        reason = "ScaledUp" if after > before else "ScaledDown"
    return Event(reason, f"Scaled Deployment {deployment} from {before} to {after}: {why}")


def transitions(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Event]:
    """Return the events between two statuses."""
    return list(_transitions(_conditions(before), _conditions(after)))


def _conditions(status: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {entry["type"]: entry for entry in status.get("conditions") or ()}


def _transitions(before: Mapping[str, Mapping[str, Any]], after: Mapping[str, Mapping[str, Any]]) -> Iterator[Event]:
    def reason(conditions: Mapping[str, Mapping[str, Any]], kind: str) -> str:
        return str(conditions.get(kind, {}).get("reason", ""))

    def holds(conditions: Mapping[str, Mapping[str, Any]], kind: str) -> bool:
        return conditions.get(kind, {}).get("status") == "True"

    old, new = reason(before, "Ready"), reason(after, "Ready")
    if new != old:
        if old == "QueueUnreachable" and holds(after, "Ready"):
            yield Event("QueueRecovered", "the queue can be read again")
        elif not holds(after, "Ready"):
            yield Event(new, str(after["Ready"]["message"]), "Warning")
    if holds(after, "FallbackActive") and not holds(before, "FallbackActive"):
        yield Event("FallbackActivated", str(after["FallbackActive"]["message"]), "Warning")
    if holds(before, "FallbackActive") and not holds(after, "FallbackActive"):
        yield Event("FallbackDeactivated", "the replicas follow the queue again")
    if reason(after, "ScalingActive") == "Suspended" != reason(before, "ScalingActive"):
        yield Event("Suspended", str(after["ScalingActive"]["message"]))
    if reason(before, "ScalingActive") == "Suspended" != reason(after, "ScalingActive"):
        yield Event("Resumed", "spec.suspend no longer holds the replicas")
