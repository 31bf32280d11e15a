"""The laws that are compared: ours, and those that users have today with the constants of their sources.

KEDA 2.21 and the HPA of Kubernetes 1.34 (`redis_scaler.go`, `horizontal.go`), Knative's KPA (`autoscaler.go`), Ray
Serve's asynchronous inference policy (`autoscaling_policy.py`) and the sample policy of SageMaker's asynchronous
endpoints (Application Auto Scaling). Phases of their clocks are drawn by the seed.
"""

import math
from collections import deque
from collections.abc import Callable
from random import Random

from inferqueue.simulation.engine import Law, Setting, View
from inferqueue_core.scaling import Fleet, Memory, Objective, Observation, QueueLook, decide


class DeadlineLaw:
    """Ours: `inferqueue_core.scaling.decide`, unchanged."""

    name = "inferqueue"
    idle_only = True
    wakes = True

    def __init__(self, setting: Setting) -> None:
        self._objective = Objective(max_wait=setting.max_wait, max_replicas=setting.max_replicas)
        # Service rate and cold start are those learned on an earlier day.
        self._memory = Memory(service_rate=1 / setting.service_seconds, cold_starts=(setting.cold_start,))
        self.releases = True

    def next_tick(self, now: float) -> float:
        return math.floor(now + 1.0 + 1e-9) if now >= 0 else 0.0

    def tick(self, view: View) -> int:
        look = QueueLook(
            view.queued,
            view.in_flight,
            view.oldest,
            view.submitted,
            view.ended,
            view.busy,
            jobs_done=view.ended,
            busy_seconds=view.busy_seconds,
            held=view.held,
        )
        fleet = Fleet(view.replicas, view.ready, view.starting, view.cold_starts)
        decision = decide(self._objective, Observation(view.now, fleet, look if view.readable else None), self._memory)
        self._memory = decision.memory
        self.releases = not decision.holds_idle
        return decision.desired


class Keda:
    """KEDA's Redis list scaler with the HPA behind it."""

    idle_only = False
    wakes = False
    releases = False

    def __init__(
        self,
        setting: Setting,
        name: str = "keda",
        *,
        poll: float = 30.0,
        target: float = 5.0,
        cooldown: float = 300.0,
        window: float = 300.0,
        growth: Callable[[int], int] = lambda current: max(2 * current, 4),
    ) -> None:
        random = Random(f"{name} {setting.seed}")
        self.name = name
        self._most = setting.max_replicas
        self._poll, self._target, self._cooldown, self._window, self._growth = poll, target, cooldown, window, growth
        self._next_poll, self._next_sync = random.uniform(0, poll), random.uniform(0, 15)
        self._last_active = -math.inf
        self._recommendations: deque[tuple[float, int]] = deque()

    def next_tick(self, now: float) -> float:
        return min(self._next_poll, self._next_sync)

    def tick(self, view: View) -> int:
        replicas = view.replicas
        if view.now >= self._next_poll:
            self._next_poll = view.now + self._poll
            replicas = self._activate(view, replicas)
        if view.now >= self._next_sync:
            self._next_sync = view.now + 15
            replicas = self._sync(view, replicas)
        return replicas

    def _activate(self, view: View, replicas: int) -> int:
        if not view.readable:
            return replicas
        if view.queued > 0:
            self._last_active = view.now
            return max(replicas, 1)
        return 0 if replicas > 0 and view.now - self._last_active > self._cooldown else replicas

    def _sync(self, view: View, replicas: int) -> int:
        if replicas == 0 or not view.readable:
            return replicas
        ratio = view.queued / (self._target * replicas)
        desired = replicas if abs(1 - ratio) <= 0.1 else math.ceil(view.queued / self._target)
        self._recommendations.append((view.now, desired))
        while self._recommendations[0][0] < view.now - self._window:
            self._recommendations.popleft()
        stable = max(recommendation for _, recommendation in self._recommendations)
        return max(1, min(stable, self._growth(replicas), self._most))


def keda_tuned(setting: Setting) -> Law:
    """KEDA as an expert would set it for this wait: a poll a second, the backlog one pod clears in the slack."""
    slack = max(setting.max_wait - setting.cold_start, setting.service_seconds)
    return Keda(
        setting,
        "keda-tuned",
        poll=1,
        target=max(1.0, slack / setting.service_seconds),
        cooldown=60,
        window=60,
        growth=lambda current: max(10 * current, current + 100),
    )


class Knative:
    """Knative's pod autoscaler, shown what waits and runs as concurrency, one at a time for each pod."""

    name = "knative"
    idle_only = False
    wakes = True
    releases = False
    STABLE, PANIC, TARGET = 60, 6, 0.7

    def __init__(self, setting: Setting) -> None:
        self._most = setting.max_replicas
        self._samples: deque[tuple[float, float]] = deque()
        self._panic_since: float | None = None
        self._panic_most = 0
        self._zero_since: float | None = None

    def next_tick(self, now: float) -> float:
        return (math.floor(now / 2 + 1e-9) + 1) * 2.0 if now >= 0 else 0.0

    def _mean(self, now: float, window: float) -> float:
        values = [value for at, value in self._samples if at > now - window]
        return sum(values) / len(values) if values else 0.0

    def tick(self, view: View) -> int:
        if not view.readable:
            return view.replicas
        self._samples.append((view.now, float(view.queued + view.in_flight)))
        while self._samples[0][0] <= view.now - self.STABLE:
            self._samples.popleft()
        ready = max(1, view.ready)
        stable = self._bounded(math.ceil(self._mean(view.now, self.STABLE) / self.TARGET), ready)
        wanted = math.ceil(self._mean(view.now, self.PANIC) / self.TARGET)
        panic = self._bounded(wanted, ready)
        if wanted / ready >= 2:
            self._panic_since = view.now
        elif self._panic_since is not None and self._panic_since + self.STABLE < view.now:
            self._panic_since, self._panic_most = None, 0
        if self._panic_since is not None:
            self._panic_most = max(self._panic_most, stable, panic)
            stable = self._panic_most
        return self._hold_last(view, stable)

    @staticmethod
    def _bounded(replicas: int, ready: int) -> int:
        return max(ready // 2, min(replicas, 1000 * ready))

    def _hold_last(self, view: View, replicas: int) -> int:
        """Go to zero only after the stable window without load and a grace of 30 s."""
        if self._mean(view.now, self.STABLE) > 0:
            self._zero_since = None
            return min(max(1, replicas), self._most)
        self._zero_since = view.now if self._zero_since is None else self._zero_since
        return 0 if view.now - self._zero_since >= 30 else min(1, view.replicas)


class RayServe:
    """Ray Serve's asynchronous inference policy with its defaults: two jobs a replica, 30 s up, 600 s down."""

    name = "ray-serve"
    idle_only = False
    wakes = False
    releases = False
    TARGET, UP, DOWN = 2.0, 30.0, 600.0

    def __init__(self, setting: Setting) -> None:
        self._most = setting.max_replicas
        self._samples: deque[tuple[float, float]] = deque()
        self._since: tuple[int, float] = (0, 0.0)

    def next_tick(self, now: float) -> float:
        return now + 1.0 if now >= 0 else 0.0

    def tick(self, view: View) -> int:
        if view.readable and (not self._samples or view.now - self._samples[-1][0] >= 10):
            self._samples.append((view.now, float(view.queued)))
            while self._samples[0][0] < view.now - 30:
                self._samples.popleft()
        mean = sum(value for _, value in self._samples) / max(1, len(self._samples))
        desired = min(self._most, math.ceil(mean / self.TARGET))
        if view.replicas == 0 or view.ready == 0:
            return max(view.replicas, min(1, desired))
        if desired == 0 and view.replicas > 1:
            desired = 1
        direction = (desired > view.replicas) - (desired < view.replicas)
        if direction != self._since[0]:
            self._since = (direction, view.now)
        held = view.now - self._since[1]
        if direction == 0 or held < (self.UP if direction > 0 else self.DOWN):
            return view.replicas
        # Its counter begins again: the next step takes as long again.
        self._since = (0, view.now)
        return desired


class SageMaker:
    """The sample policy for asynchronous endpoints: target tracking on backlog per instance, and a step from zero."""

    name = "sagemaker"
    idle_only = False
    wakes = False
    releases = False
    TARGET = 5.0

    def __init__(self, setting: Setting) -> None:
        self._most = setting.max_replicas
        self._next = Random(f"sagemaker {setting.seed}").uniform(0, 60)
        self._high = self._low = self._starved = 0
        self._out_at = self._in_at = -math.inf

    def next_tick(self, now: float) -> float:
        return self._next

    def tick(self, view: View) -> int:
        self._next = view.now + 60
        if not view.readable:
            return view.replicas
        backlog = view.queued + view.in_flight
        if view.replicas == 0:
            self._starved = self._starved + 1 if backlog else 0
            return 1 if self._starved >= 2 else 0
        self._starved = 0
        metric = backlog / view.replicas
        self._high = self._high + 1 if metric > self.TARGET else 0
        self._low = self._low + 1 if metric < 0.9 * self.TARGET else 0
        if self._high >= 3 and view.now - self._out_at >= 300:
            self._out_at = view.now
            return min(self._most, math.ceil(view.replicas * metric / self.TARGET))
        if self._low >= 15 and view.now - max(self._in_at, self._out_at) >= 600:
            self._in_at = view.now
            return math.ceil(view.replicas * metric / self.TARGET)
        return view.replicas


LAWS: dict[str, Callable[[Setting], Law]] = {
    "inferqueue": DeadlineLaw,
    "keda": Keda,
    "keda-tuned": keda_tuned,
    "knative": Knative,
    "ray-serve": RayServe,
    "sagemaker": SageMaker,
}
