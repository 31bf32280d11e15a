"""The status of an InferenceQueue: made from what a look found, and written no more often than it tells something."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError

from inferqueue_core.scaling import Decision, Memory

# Numbers that change all the time are written this often; a new decision or condition at once.
QUIET_SECONDS = 10.0
# A flow that never changes its numbers must be remembered all the same: a successor would take it for silence.
MEMORY_SECONDS = 30.0
_memory = TypeAdapter(Memory)
_MOST_MEMORY = 65_536
_PASSING = ("backlog", "inFlight", "decision", "memory", "conditions")


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition in the sense of the Kubernetes API; `holds` None is Unknown."""

    type: str
    holds: bool | None
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What one reconciliation found: either a `problem` (reason, message) that keeps it from scaling, or a decision.

    `unreadable` says why the queue could not be read; `fallback` whether that has lasted long enough; `suspended`
    whether the owner holds the replicas; `replicas` what the Deployment is asked for, None when there is none; `kept`
    why there are more of them than desired.
    """

    replicas: int | None = None
    desired: int | None = None
    decision: Decision | None = None
    problem: tuple[str, str] | None = None
    unreadable: str | None = None
    fallback: bool = False
    suspended: bool = False
    scaled: bool = False
    kept: str = ""


def conditions_of(finding: Finding) -> tuple[Condition, ...]:
    """Return all four conditions."""
    return (_ready(finding), _active(finding), _limited(finding), _fallback(finding))


def _ready(finding: Finding) -> Condition:
    if finding.problem is not None:
        return Condition("Ready", False, *finding.problem)
    if finding.unreadable is not None:
        return Condition("Ready", False, "QueueUnreachable", finding.unreadable)
    follows = "spec.suspend holds the Deployment" if finding.suspended else "the Deployment follows it"
    return Condition("Ready", True, "Reconciled", f"the queue is read and {follows}")


def _active(finding: Finding) -> Condition:
    if finding.problem is not None:
        return Condition("ScalingActive", False, finding.problem[0], "nothing is scaled until that is put right")
    if finding.suspended:
        return Condition("ScalingActive", False, "Suspended", "spec.suspend holds the replicas as they are")
    if finding.fallback:
        return Condition("ScalingActive", False, "FallbackInUse", "the queue cannot be read; the fallback holds")
    if finding.unreadable is not None:
        return Condition("ScalingActive", False, "QueueUnreachable", "the replicas stay as they are")
    message = "the replicas follow the queue"
    if finding.kept:
        message += f"; {finding.replicas} stay where {finding.desired} would do, for {finding.kept}"
    return Condition("ScalingActive", True, "FollowingQueue", message)


def _limited(finding: Finding) -> Condition:
    if finding.decision is None or finding.unreadable is not None:
        return Condition("ScalingLimited", None, "NotKnown", "what the queue needs is not known now")
    match finding.decision.reason:
        case "Maximum":
            return Condition("ScalingLimited", True, "TooManyReplicas", "the queue needs more than maxReplicas")
        case "Minimum":
            return Condition("ScalingLimited", True, "TooFewReplicas", "the queue needs less than minReplicas")
    return Condition("ScalingLimited", False, "DesiredWithinRange", "the need lies between minReplicas and maxReplicas")


def _fallback(finding: Finding) -> Condition:
    if finding.fallback:
        message = "the queue could not be read for spec.fallback.afterSeconds"
        return Condition("FallbackActive", True, "QueueUnreachable", message)
    return Condition("FallbackActive", False, "NotNeeded", "the queue is read, or the time for a fallback has not come")


def status_of(finding: Finding, generation: int, before: Mapping[str, Any], now: float) -> dict[str, Any]:
    """Make the whole status but for the memory; what is not known now is None, which deletes it."""
    decision = finding.decision
    seen = decision is not None and finding.unreadable is None
    return {
        "observedGeneration": generation,
        "backlog": decision.queued if decision is not None and seen else None,
        "inFlight": decision.in_flight if decision is not None and seen else None,
        "replicas": finding.replicas,
        "desiredReplicas": finding.desired,
        "lastScaleTime": _time(now) if finding.scaled else before.get("lastScaleTime"),
        "decision": None if decision is None else _explained(decision),
        "conditions": [
            _written(condition, generation, before.get("conditions") or (), now) for condition in conditions_of(finding)
        ],
    }


def _explained(decision: Decision) -> dict[str, Any]:
    slack = decision.slack
    return {
        "reason": decision.reason,
        "message": decision.message[:1024],
        "arrivalRate": round(decision.arrival_rate, 3),
        "serviceRate": round(decision.service_rate, 3),
        "coldStartSeconds": round(decision.cold_start, 3),
        "starting": decision.starting,
        "bindingPosition": decision.binding_position,
        "slackSeconds": None if slack is None or abs(slack) == float("inf") else round(slack, 3),
    }


def _written(condition: Condition, generation: int, before: Sequence[Mapping[str, Any]], now: float) -> dict[str, Any]:
    """Write a condition; its time moves only when it turns."""
    status = {True: "True", False: "False", None: "Unknown"}[condition.holds]
    old = next((entry for entry in before if entry["type"] == condition.type), None)
    turned = _time(now) if old is None or old["status"] != status else old["lastTransitionTime"]
    return {
        "type": condition.type,
        "status": status,
        "observedGeneration": generation,
        "lastTransitionTime": turned,
        "reason": condition.reason,
        "message": condition.message,
    }


def _time(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def is_due(before: Mapping[str, Any], after: Mapping[str, Any], since: float) -> bool:
    """Tell whether to write `after` over `before`, which was written `since` seconds ago."""
    if _lasting(before) != _lasting(after):
        return True
    if since >= MEMORY_SECONDS and (after.get("decision") or {}).get("arrivalRate", 0) > 0:
        return True
    return since >= QUIET_SECONDS and _telling(before) != _telling(after)


def _lasting(status: Mapping[str, Any]) -> Any:
    conditions = [(entry["type"], entry["status"], entry["reason"]) for entry in status.get("conditions") or ()]
    kept = {
        name: value for name, value in status.items() if name not in (*_PASSING, "conditions") and value is not None
    }
    return kept, conditions


def _telling(status: Mapping[str, Any]) -> Any:
    """Return what is worth a write now and then: the memory alone is not, for it changes with every look."""
    decision = status.get("decision") or {}
    messages = [entry["message"] for entry in status.get("conditions") or ()]
    flow = round(decision.get("arrivalRate", 0), 1)
    return status.get("backlog"), status.get("inFlight"), flow, decision.get("reason"), messages


def save_memory(memory: Memory) -> str | None:
    """Write the law's memory as JSON; None in the unlikely case that it is too long to keep."""
    text = json.dumps(_rounded(memory.to_json()), separators=(",", ":"))
    return text if len(text) <= _MOST_MEMORY else None


def load_memory(status: Mapping[str, Any]) -> Memory:
    """Read the memory from a status; an empty one when there is none, or another version wrote it."""
    try:
        return _memory.validate_json(status["memory"])
    except (ValidationError, KeyError):
        return Memory()


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, dict):
        return {name: _rounded(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(part) for part in value]
    return value
