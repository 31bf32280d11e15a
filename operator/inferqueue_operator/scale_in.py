"""Which pods may go, so that no busy worker is ever asked to stop.

A ReplicaSet that scales in deletes pods in this order: unscheduled ones, pending ones, unready ones, those of low
deletion cost, the youngest. So unready pods go first whatever we mark, and a ready one only when each unready one goes
too.
"""

from collections.abc import Collection
from dataclasses import dataclass

from inferqueue_core.jobs import QueueObservation
from inferqueue_operator.looks import Crew
from inferqueue_operator.workloads import Pod, Target


@dataclass(frozen=True, slots=True)
class Departure:
    """Pods to retire, in the order in which they are given up; the first `unready` of them go before any other."""

    pods: tuple[Pod, ...]
    unready: int

    def granted(self, idle: Collection[str]) -> tuple[Pod, ...]:
        """Return those that may really go, when only `idle` workers turned out to hold nothing.

        None may while an unready pod of the Deployment holds jobs: Kubernetes would take that one first.
        """
        if any(pod.name not in idle for pod in self.pods[: self.unready]):
            return ()
        return tuple(pod for pod in self.pods if pod.name in idle)


def plan_departure(crew: Crew, count: int, idle: Collection[str]) -> Departure:
    """Choose up to `count` pods to give up; `idle` names ready workers that seem to hold nothing, by their last report.

    With more unready pods than `count`, those go that Kubernetes would take first. Raises no error: fewer may be found
    than asked for.
    """
    order = sorted(crew.live, key=_deletion_order)
    unready = [pod for pod in order if not pod.ready]
    first = unready[:count]
    idlers = [pod for pod in order if pod.ready and (pod.name in idle or pod in crew.starting)]
    rest = idlers[: max(0, count - len(unready))]
    return Departure((*first, *rest), len(first))


def _deletion_order(pod: Pod) -> tuple[bool, bool, bool, float, str]:
    return pod.scheduled, not pod.pending, pod.ready, -pod.created, pod.name


def to_bar(crew: Crew, replicas: int, observation: QueueObservation) -> list[str]:
    """Name the pods that will claim nothing more by all rights, and that Redis does not know as barred."""
    going = crew.leaving if len(crew.live) <= replicas else (*crew.leaving, *crew.retired)
    busy = {worker.name for worker in observation.workers if worker.report.in_flight > 0}
    return [pod.name for pod in going if pod.name not in observation.retired and pod.name not in busy]


def survivors(crew: Crew, target: Target) -> tuple[Pod, ...]:
    """Return the retired pods that no scale-in will delete: the Deployment has no more pods than it should.

    In a rollout it has more of them, perhaps for long, and takes away what it wants: marks mean nothing then.
    """
    done = target.settled and len(crew.live) <= target.replicas
    return crew.retired if done or target.rolling else ()
