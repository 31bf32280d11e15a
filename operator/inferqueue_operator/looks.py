"""Pods, brought into the form in which the scaling law takes them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from inferqueue_core.jobs import QueueObservation
from inferqueue_core.scaling import Fleet
from inferqueue_operator.workloads import Pod, Target

# Workers that send no heartbeats say nothing of what they hold: they count as idle after so many quiet seconds. With
# the 30 s that Kubernetes grants a pod to end, a job may take a minute, which is PREDICTION_TIMEOUT of our own workers.
NAIVE_QUIET = 30.0
# A start that took longer waited for a node, a quota or a person, and says nothing of the next one.
LONGEST_START = 900.0


# Workers send a heartbeat every 10 s: one whose pod is not ready, and that was silent for longer, works no more.
FRESH_HEARTBEAT = 15.0


@dataclass(frozen=True, slots=True)
class Crew:
    """The pods of one look: `ready` ones can claim jobs, `starting` not yet, `retired` and `leaving` no longer."""

    ready: tuple[Pod, ...]
    starting: tuple[Pod, ...]
    retired: tuple[Pod, ...]
    leaving: tuple[Pod, ...]

    @property
    def live(self) -> tuple[Pod, ...]:
        """Those that count among the Deployment's replicas."""
        return (*self.ready, *self.starting, *self.retired)


@dataclass(frozen=True, slots=True)
class Starts:
    """The uids of pods at their first start, and of those that have worked: to come back is no cold start."""

    first: frozenset[str] = frozenset()
    worked: frozenset[str] = frozenset()

    def after(self, crew: Crew) -> "Starts":
        """Return what holds after a look."""
        worked = {pod.uid for pod in crew.ready} | self.worked.intersection(pod.uid for pod in crew.live)
        return Starts(frozenset(pod.uid for pod in crew.starting) - worked, frozenset(worked))


def beating_workers(observation: QueueObservation, pods: Sequence[Pod]) -> set[str]:
    """Name the workers whose heartbeats mean that they work; a crashed one's last heartbeat is remembered for long."""
    ready = {pod.name for pod in pods if pod.ready}
    return {
        worker.name
        for worker in observation.workers
        if worker.silent_seconds <= FRESH_HEARTBEAT or worker.name in ready
    }


def muster(pods: Sequence[Pod], beating: Collection[str], retired: Collection[str], *, beats: bool) -> Crew:
    """Sort pods by what they can do.

    `beating`: workers with heartbeats, by pod name. `beats`: this queue's workers are known to send some, so that a
    ready pod without any is still loading its model; those of workers that never send any are ready when Kubernetes
    says so.
    """
    ready, starting, barred, leaving = [], [], [], []
    for pod in pods:
        if pod.terminating:
            leaving.append(pod)
        elif pod.name in retired:
            barred.append(pod)
        elif pod.name in beating or (pod.ready and not beats):
            ready.append(pod)
        else:
            starting.append(pod)
    return Crew(tuple(ready), tuple(starting), tuple(barred), tuple(leaving))


def fleet_of(target: Target, crew: Crew, were_starting: Collection[str], now: float) -> Fleet:
    """Return the law's view of the pods; `were_starting`: uids of those at their first start at the last look.

    `now` is the time of the API server, by whose clock pods are created.
    """
    ages = sorted((max(0.0, now - pod.created) for pod in crew.starting), reverse=True)
    starts = [max(0.0, now - pod.created) for pod in crew.ready if pod.uid in were_starting and not pod.restarted]
    started = [seconds for seconds in starts if seconds <= LONGEST_START]
    return Fleet(target.replicas, min(len(crew.ready), target.replicas), tuple(ages), tuple(sorted(started)))


def idle_workers(crew: Crew, observation: QueueObservation, quiet_since: float | None, now: float) -> set[str]:
    """Name the workers that seem to hold nothing.

    Workers without heartbeats do not say so: they are taken for idle when the queue has been empty for `NAIVE_QUIET`
    seconds. One that runs a single job for longer is stopped in the middle of it, unless its grace period is longer.
    """
    idle = {worker.name for worker in observation.workers if worker.report.in_flight == 0}
    if quiet_since is not None and now - quiet_since >= NAIVE_QUIET:
        beating = {worker.name for worker in observation.workers}
        idle.update(pod.name for pod in crew.ready if pod.name not in beating)
    return idle
