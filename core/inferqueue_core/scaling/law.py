"""The law: «the fewest replicas for which every waiting job still makes its deadline».

For a wait objective of W seconds, learned service rate m (jobs a second of one worker) and cold start L, a job at
position k that has waited for a seconds must be reached within d = max(0.85 W - a, W/4). Workers that are ready, that
are starting (less what is left of their start) and x new ones (less L) reach m * sum((d - eta)+) jobs in that time,
each new one at least the job with which it begins. It takes the smallest x with which every sampled position is
reached; when even new workers would be late, it grants them at least W/4 after their start. One that has been at its
jobs for three times the usual t seconds is expected to be at them for t more. Where at least x workers have been
starting for more than 3 L, no more are asked for: there is no room for them, or they cannot start. While some start, as
many are kept as leave every job half of L or of d to spare, whichever is less: what is left of a start costs less than
another one.

A steady flow keeps rate / m workers, so that an empty queue under load does not scale in, and as many more as bring the
queue back to 0.4 W within 2 W, so that it does not live at the edge of its promise.

Idle workers are kept for half of what another start would cost, the last one for a whole start where jobs that come
later would be late without it, and busy ones are never given up. The first one of an image stays until it has been
ready once. Nothing is lowered while Redis cannot be read.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from inferqueue_core.scaling.estimates import arrival_rate, cold_start, learn, rebase, service_rate
from inferqueue_core.scaling.values import Decision, Fleet, Memory, Objective, Observation, QueueLook

SAFETY = 0.85
# A queue whose wait is longer than this share of what is allowed is brought back to it within so many allowed waits.
COMFORT = 0.4
RECOVERY = 2.0
# So much of a worker's work needs no further worker; the queue that grows by it is what is brought back.
SPARED = 0.3
# A worker that has been at its jobs for so many times what is usual is at something slow.
SLOW = 3.0
# A worker that has been starting for so many cold starts waits for room, or cannot start at all.
OVERDUE = 3.0
# Idle workers are kept for this share of a cold start after they were needed; while some start, so much of one is to
# spare without those that are given up.
KEPT = 0.5
LEAST_KEEP = 3.0
LEAST_QUIET = 5.0


def decide(objective: Objective, observation: Observation, memory: Memory) -> Decision:
    """Give the number of replicas that the queue needs now, why, and the memory for the next decision."""
    if observation.queue is None:
        return _decide_blind(objective, observation, memory)
    memory = learn(memory, observation.now, observation.queue, observation.fleet)
    need = _need(objective, observation.queue, observation.fleet, memory, observation.now)
    if objective.suspend:
        settled = _Settled(observation.fleet.replicas, "Suspended", "spec.suspend holds the replicas as they are")
    else:
        settled, memory = _settle(objective, observation, memory, need)
    return Decision(
        settled.replicas,
        settled.reason,
        settled.message,
        queued=observation.queue.queued,
        in_flight=observation.queue.in_flight,
        arrival_rate=arrival_rate(memory, observation.now),
        service_rate=service_rate(memory),
        cold_start=cold_start(memory),
        starting=max(0, observation.fleet.replicas - observation.fleet.ready),
        binding_position=need.position,
        slack=need.slack,
        memory=memory,
    )


@dataclass(frozen=True, slots=True)
class _Need:
    """What the queue needs before bounds and release: replicas with the reason, and the job that binds."""

    replicas: int
    reason: str
    message: str
    position: int | None = None
    slack: float | None = None


@dataclass(frozen=True, slots=True)
class _Settled:
    replicas: int
    reason: str
    message: str


def _decide_blind(objective: Objective, observation: Observation, memory: Memory) -> Decision:
    """Hold while Redis cannot be read; after a while there are at least the fallback's replicas. Never scale in."""
    memory = rebase(memory, observation.now)
    since = observation.now if memory.blind_since is None else memory.blind_since
    memory = replace(memory, blind_since=since)
    current, blind = observation.fleet.replicas, observation.now - since
    if objective.suspend:
        settled = _Settled(current, "Suspended", "spec.suspend holds the replicas as they are")
    elif blind >= objective.fallback_after and max(objective.fallback_replicas, objective.min_replicas) > current:
        floor = max(objective.min_replicas, min(objective.fallback_replicas, objective.max_replicas))
        message = f"Redis could not be read for {blind:.0f} s: at least {floor} replicas (fallback)"
        settled = _Settled(max(current, floor), "Fallback", message)
    else:
        settled = _Settled(current, "Blind", f"Redis could not be read for {blind:.0f} s: holding {current} replicas")
    return Decision(
        settled.replicas,
        settled.reason,
        settled.message,
        service_rate=service_rate(memory),
        cold_start=cold_start(memory),
        starting=max(0, current - observation.fleet.ready),
        memory=memory,
    )


def _need(objective: Objective, look: QueueLook, fleet: Fleet, memory: Memory, now: float) -> _Need:
    if objective.backlog_per_replica is not None:
        backlog = look.queued + look.in_flight
        replicas = math.ceil(backlog / objective.backlog_per_replica)
        return _Need(
            replicas, "Backlog", f"{backlog} jobs waiting or running, {objective.backlog_per_replica:g} a replica"
        )
    assert objective.max_wait is not None
    rate, service = arrival_rate(memory, now), service_rate(memory)
    # Jobs beyond a comfortable wait; without a flow, or with ever so many, their deadlines tell what is needed.
    excess = max(0.0, look.queued - rate * COMFORT * objective.max_wait)
    recovery = min(rate, excess / (RECOVERY * objective.max_wait))
    steady = math.ceil((rate + recovery) / service - SPARED)
    deadline = _deadline_need(objective.max_wait, objective.max_replicas, look, fleet, memory)
    if deadline.replicas >= steady:
        return deadline
    behind = f", and {excess:.0f} waiting ones are to be caught up with" if excess else ""
    message = f"{rate:.1f} jobs/s keep arriving, a worker does {service:.3g}/s{behind}"
    return replace(deadline, replicas=steady, reason="Arrivals", message=message)


def _deadline_need(wait: float, most: int, look: QueueLook, fleet: Fleet, memory: Memory) -> _Need:
    if look.queued == 0:
        return _Need(0, "Idle", "nothing waits")
    start, crew = cold_start(memory), _crew(look, fleet, memory)
    # A job under way is half done on average, and its worker is not free before.
    ahead = look.in_flight / 2
    samples = [(position, _remaining(wait, age)) for position, age in _positions(look)]
    times = crew.times_to_reach([position + ahead for position, _ in samples])
    slack, position = min(
        (remaining - seconds, position) for (position, remaining), seconds in zip(samples, times, strict=True)
    )
    overdue = sum(1 for age in _starting(fleet) if age > OVERDUE * start)
    if slack >= 0:
        message = f"job {position} of {look.queued} makes its deadline with {slack:.1f} s to spare"
        # How long a start takes is known roughly: one that is given up too soon is soon asked for again.
        spared = KEPT * start if overdue < len(_starting(fleet)) else 0.0
        return _Need(_fewest(crew, samples, ahead, spared), "Deadline", message, position, slack)
    extra, position, slack = max(
        (_extra(crew, position + ahead, max(remaining, start + wait / 4), start), position, remaining - seconds)
        for (position, remaining), seconds in zip(samples, times, strict=True)
    )
    if 0 < extra <= overdue:
        message = (
            f"{overdue} replicas have been starting for more than {OVERDUE * start:.0f} s: {extra} more would as well"
        )
        return _Need(crew.size, "Starting", message, position, slack)
    replicas = max(1, min(most, crew.size + extra))
    if not crew.size:
        return _Need(replicas, "Deadline", f"{look.queued} jobs wait and there is no worker", position)
    message = f"job {position} of {look.queued} would be late by {-slack:.1f} s with {crew.size} replicas"
    return _Need(replicas, "Deadline", message, position, slack)


@dataclass(frozen=True, slots=True)
class _Crew:
    """Workers that are `ready`, and others free after so many seconds, soonest first; `service` of each.

    A worker's first job is begun as soon as it is ready: until one service later it counts as one, whole.
    """

    ready: int
    starting: tuple[float, ...]
    service: float

    @property
    def size(self) -> int:
        return self.ready + len(self.starting)

    def first(self, count: int) -> "_Crew":
        """Give the readiest `count` of them."""
        return _Crew(min(count, self.ready), self.starting[: max(0, count - self.ready)], self.service)

    def reached(self, seconds: float) -> float:
        """Give the jobs that they begin within `seconds`."""
        begun = sum(max(1.0, self.service * (seconds - eta)) for eta in self.starting if eta <= seconds)
        return self.service * self.ready * seconds + begun

    def times_to_reach(self, jobs: Sequence[float]) -> list[float]:
        """Give the seconds after which they have begun so many jobs, for rising numbers; infinite without workers."""
        whole = [(eta, 1.0, 0.0) for eta in self.starting]
        steady = [(eta + 1 / self.service, 0.0, self.service) for eta in self.starting]
        changes = iter([*sorted(whole + steady), (math.inf, 0.0, 0.0)])
        now, begun, rate = 0.0, 0.0, self.service * self.ready
        until, jump, faster = next(changes)
        times = []
        for count in jobs:
            while begun < count and (rate == 0 or begun + rate * (until - now) < count) and until < math.inf:
                begun, now, rate = begun + rate * (until - now) + jump, until, rate + faster
                until, jump, faster = next(changes)
            times.append(now + max(0.0, count - begun) / rate if rate else now if begun >= count else math.inf)
        return times


def _starting(fleet: Fleet) -> Sequence[float]:
    """Give for how long those of the wanted workers that are not ready have been starting."""
    return fleet.starting[: max(0, fleet.replicas - fleet.ready)]


def _crew(look: QueueLook, fleet: Fleet, memory: Memory) -> _Crew:
    """Give the workers there are and those to come. One that is late is expected to be late again."""
    ready, service = min(fleet.ready, fleet.replicas), service_rate(memory)
    start, ages = cold_start(memory), _starting(fleet)
    etas = [abs(start - age) for age in ages] + [0.0] * (fleet.replicas - ready - len(ages))
    usual = max(look.runners, look.in_flight / max(1, look.busy)) / service
    slow = [seconds for seconds in look.held if seconds > SLOW * usual][:ready]
    return _Crew(ready - len(slow), tuple(sorted(etas + slow)), service)


def _positions(look: QueueLook) -> Sequence[tuple[int, float]]:
    """Give (jobs up to and with this one, seconds waited) of sampled jobs; without ages, the last counts as new."""
    known = [(position + 1, age) for position, age in look.ages]
    if not known or known[-1][0] < look.queued:
        known.append((look.queued, 0.0 if not known else known[-1][1]))
    return known


def _remaining(wait: float, age: float) -> float:
    return max(SAFETY * wait - age, wait / 4)


def _extra(crew: _Crew, jobs: float, seconds: float, start: float) -> int:
    """Give the new workers, ready after `start`, that it takes to begin `jobs` within `seconds`."""
    missing = jobs - crew.reached(seconds)
    return 0 if missing <= 0 else math.ceil(missing / max(1.0, crew.service * (seconds - start)))


def _fewest(crew: _Crew, samples: Sequence[tuple[int, float]], ahead: float, spared: float) -> int:
    """Give the fewest workers, the readiest, with which every sampled job makes its deadline.

    They make it `spared` seconds early, or in half of the time that is left.
    """
    wanted = [(position + ahead, max(remaining - spared, remaining / 2)) for position, remaining in samples]
    low, high = 1, crew.size
    while low < high:
        middle = (low + high) // 2
        kept = crew.first(middle)
        if all(kept.reached(seconds) >= jobs for jobs, seconds in wanted):
            high = middle
        else:
            low = middle + 1
    return low


def _settle(objective: Objective, observation: Observation, memory: Memory, need: _Need) -> tuple[_Settled, Memory]:
    """Bring the need into bounds, and let go of workers only when they are idle and no longer worth keeping."""
    now, current = observation.now, observation.fleet.replicas
    peaks = _push_peak(memory.peaks, now, need.replicas, _keep_seconds(memory))
    memory = replace(memory, peaks=peaks)
    settled = _Settled(need.replicas, need.reason, need.message)
    if settled.replicas < current:
        settled = _release(objective, observation, memory, need)
    if settled.replicas == 0 and current > 0 and _is_first_start(observation, memory):
        settled = _Settled(1, "FirstStart", "no worker of this image was ever ready: the first one stays until it is")
    if settled.replicas > objective.max_replicas:
        message = f"{need.message}; {need.replicas} replicas would do, maxReplicas is {objective.max_replicas}"
        settled = _Settled(objective.max_replicas, "Maximum", message)
    if settled.replicas < objective.min_replicas:
        settled = _Settled(objective.min_replicas, "Minimum", f"minReplicas is {objective.min_replicas}")
    assert observation.queue is not None
    busy = min(observation.queue.busy, current)
    if settled.replicas < busy:
        settled = _Settled(busy, "Busy", f"{busy} workers hold jobs and are not stopped")
    return settled, memory


def _is_first_start(observation: Observation, memory: Memory) -> bool:
    """Tell whether what is starting has never been ready: it will publish the model, without which no job can come."""
    return observation.fleet.ready == 0 and not memory.ready_once and not memory.cold_starts


def _keep_seconds(memory: Memory) -> float:
    return max(LEAST_KEEP, KEPT * cold_start(memory))


def _quiet_seconds(objective: Objective, memory: Memory) -> float:
    """Give for how long the last worker is kept after the last job: longer where the next one could not be in time."""
    start = cold_start(memory)
    late = objective.max_wait is not None and start > SAFETY * objective.max_wait
    return max(LEAST_QUIET, start if late else KEPT * start)


def _release(objective: Objective, observation: Observation, memory: Memory, need: _Need) -> _Settled:
    keep, window = memory.peaks[0][1], _keep_seconds(memory)
    current = observation.fleet.replicas
    arriving = memory.last_arrival is not None and observation.now - memory.last_arrival < window
    if keep > need.replicas and arriving:
        message = f"{min(keep, current)} replicas were needed within the last {window:.0f} s, and jobs keep arriving"
        return _Settled(min(keep, current), "Keeping", message)
    quiet = memory.quiet_since
    if need.replicas == 0 and (quiet is None or observation.now - quiet < _quiet_seconds(objective, memory)):
        return _Settled(min(1, current), "Keeping", "the last replica stays until the queue has been quiet for a while")
    return _Settled(need.replicas, need.reason, need.message)


def _push_peak(
    peaks: tuple[tuple[float, int], ...], now: float, replicas: int, window: float
) -> tuple[tuple[float, int], ...]:
    """Add a need to the peaks of the window: a decreasing sequence whose first is the largest."""
    kept = [(moment, peak) for moment, peak in peaks if peak > replicas and moment > now - window]
    return (*kept, (now, replicas))
