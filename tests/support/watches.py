"""What a cluster tells as it happens: a Deployment's replicas over time, and the moments at which pods were deleted."""

import json
import threading
import time
from dataclasses import dataclass
from itertools import pairwise
from types import TracebackType
from typing import Any, Self

from support.kubectl import Kubectl


class Watch:
    """Reads a watch of the API server, line by line, until its end; `note` takes each object with its time."""

    def __init__(self, kubectl: Kubectl, path: str) -> None:
        self._process = kubectl.stream("get", "--raw", path)
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait()
        self._thread.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.note(time.time(), json.loads(line)["object"])

    def note(self, at: float, seen: dict[str, Any]) -> None:
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Moment:
    """A Deployment as it was from `at` on, in seconds since 1970."""

    at: float
    replicas: int
    ready: int


class ReplicaWatch(Watch):
    """Follows a Deployment: what it was asked for, and how many of its pods were ready."""

    def __init__(self, kubectl: Kubectl, deployment: str) -> None:
        path = f"/apis/apps/v1/namespaces/{kubectl.namespace}/deployments"
        super().__init__(kubectl, f"{path}?watch=1&fieldSelector=metadata.name={deployment}")
        self.moments: list[Moment] = []

    def note(self, at: float, seen: dict[str, Any]) -> None:
        self.moments.append(Moment(at, seen["spec"]["replicas"], seen.get("status", {}).get("readyReplicas", 0)))

    @property
    def replicas(self) -> int:
        """What the Deployment is asked for now."""
        return self.moments[-1].replicas if self.moments else 0

    def steps(self, since: float = 0) -> list[Moment]:
        """Give the moments at which the Deployment was asked for another number."""
        return [
            after for before, after in pairwise(self.moments) if after.replicas != before.replicas and after.at >= since
        ]

    def scaled_at(self, since: float) -> float | None:
        """Give when replicas were first asked for."""
        return next((moment.at for moment in self.moments if moment.at >= since and moment.replicas > 0), None)

    def ready_at(self, since: float) -> float | None:
        """Give when a pod was first ready."""
        return next((moment.at for moment in self.moments if moment.at >= since and moment.ready > 0), None)

    def replica_seconds(self, since: float) -> float:
        """Add up the replicas that were asked for over time, until the last change."""
        known = [moment for moment in self.moments if moment.at >= since]
        return sum(before.replicas * (after.at - before.at) for before, after in pairwise(known))

    def turns(self, since: float = 0) -> int:
        """Count how often the replicas changed their direction."""
        values = [step.replicas for step in self.steps(since)]
        signs = [after > before for before, after in pairwise(values)]
        return sum(before != after for before, after in pairwise(signs))


class PodWatch(Watch):
    """Follows the pods of a Deployment: when each was seen to be ready, and to be on its way out."""

    def __init__(self, kubectl: Kubectl, selector: str) -> None:
        super().__init__(kubectl, f"/api/v1/namespaces/{kubectl.namespace}/pods?watch=1&labelSelector={selector}")
        self.ready_at: dict[str, float] = {}
        self.deleted_at: dict[str, float] = {}

    def starts(self, since: float) -> list[float]:
        """Give the seconds from `since` until each pod was ready, soonest first."""
        return sorted(at - since for at in self.ready_at.values() if at >= since)

    def note(self, at: float, seen: dict[str, Any]) -> None:
        conditions = seen.get("status", {}).get("conditions", ())
        if any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions):
            self.ready_at.setdefault(seen["metadata"]["name"], at)
        if "deletionTimestamp" in seen["metadata"]:
            self.deleted_at.setdefault(seen["metadata"]["name"], at)
