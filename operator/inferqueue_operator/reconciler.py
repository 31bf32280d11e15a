"""The loop of one InferenceQueue: look, decide, scale, tell."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, replace
from functools import partial

from inferqueue_core.jobs import QueueDecision, QueueObservation
from inferqueue_core.keys import IDLE
from inferqueue_core.scaling import RELEASE_SECONDS, Decision, Fleet, Memory, Observation, decide
from inferqueue_core.scaling.looks import look_at
from inferqueue_core.scaling.news import news_of
from inferqueue_operator import events
from inferqueue_operator.cluster import Cluster
from inferqueue_operator.departures import Departures
from inferqueue_operator.errors import (
    ApiError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    SpecError,
    UnreadableError,
)
from inferqueue_operator.links import Linker, QueueLink
from inferqueue_operator.looks import Crew, Starts, beating_workers, fleet_of, idle_workers, muster
from inferqueue_operator.metrics import OperatorMetrics
from inferqueue_operator.resource import InferenceQueue, Spec
from inferqueue_operator.servers import RedisServers
from inferqueue_operator.statuses import Finding, is_due, load_memory, save_memory, status_of
from inferqueue_operator.workloads import Target

logger = logging.getLogger(__name__)

TICK = 1.0
# However often a queue wakes us, it is not looked at more often than this.
_LEAST_PERIOD = 0.05
_LONGEST_RECONCILE = 30.0


@dataclass(frozen=True, slots=True)
class Services:
    """What all reconcilers share; `rivals` names other InferenceQueues on the same Deployment."""

    cluster: Cluster
    servers: RedisServers
    metrics: OperatorMetrics
    rivals: Callable[[InferenceQueue], list[str]]
    now: Callable[[], float] = time.time


class Reconciler:
    """Keeps one Deployment as its queue needs it."""

    def __init__(self, resource: InferenceQueue, services: Services) -> None:
        self.resource = resource
        self.progress_at = time.monotonic()
        self.gone = False
        self._stopped = False
        self._services = services
        self._woken = asyncio.Event()
        self._alarm: asyncio.TimerHandle | None = None
        self._began = 0.0
        self._holding = False
        self._linker = Linker(services.cluster, services.servers, resource.identity, self._hear)
        self._departures = Departures(services.cluster, self._names())
        self._memory = load_memory(resource.status)
        self._status = dict(resource.status)
        self._status_at = -1e9
        self._untold = False
        self._defect = ""
        self._starts = Starts()

    def wake(self) -> None:
        """Look at the queue now, not at the next tick."""
        self._woken.set()

    def _hear(self, message: bytes) -> None:
        """Look at once when work has come, and soon when a worker has nothing more to do and may be let go."""
        if message != IDLE:
            self.wake()
        elif not self._holding:
            self._look_soon()

    def _look_soon(self) -> None:
        if self._alarm is None:
            wait = self._began + RELEASE_SECONDS - time.monotonic()
            self._alarm = asyncio.get_running_loop().call_later(max(0.0, wait), self.wake)

    def update(self, resource: InferenceQueue) -> None:
        """Go on with a new specification; another queue's past is of no use."""
        old, new = self.resource.spec, resource.spec
        if resource.generation <= self.resource.generation:
            return
        if old is not None and new is not None and old.queue != new.queue:
            self._memory = Memory()
        self.resource = resource
        self.wake()

    async def run(self) -> None:
        """Reconcile until the object is gone, or until told to stop."""
        while not (self.gone or self._stopped):
            began = self._began = time.monotonic()
            self._silence_alarm()
            self._woken.clear()
            try:
                async with asyncio.timeout(_LONGEST_RECONCILE):
                    await self.reconcile()
            except Exception:  # a defect, or a request that hangs: this queue must go on, and so must all others
                logger.exception("reconciliation broken off", extra=self._names())
                self._count("error")
            self.progress_at = time.monotonic()
            self._services.metrics.seconds.observe(self.progress_at - began)
            await self._pause(began)

    def stop(self) -> None:
        """End after the reconciliation under way, should it swallow a cancellation (see `end_tasks`)."""
        self._stopped = True
        self.wake()

    async def leave(self) -> None:
        """Let go of the queue; when the object was deleted, retired workers may work again: nobody stops them now."""
        self._silence_alarm()
        await self._linker.disconnect(for_good=self.gone)
        self._services.metrics.forget(self.resource.identity)

    def _silence_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    async def _pause(self, began: float) -> None:
        spent = time.monotonic() - began
        if spent < _LEAST_PERIOD:
            await asyncio.sleep(_LEAST_PERIOD - spent)
        try:
            async with asyncio.timeout(max(0.0, TICK - (time.monotonic() - began))):
                await self._woken.wait()
        except TimeoutError:
            pass

    # ---- one reconciliation ----

    async def reconcile(self) -> None:
        """Look once, do what follows from it, and tell."""
        try:
            finding = await self._find()
        except SpecError as error:
            finding = self._stuck(error.reason, str(error))
        except ForbiddenError as error:
            finding = self._stuck("Forbidden", str(error))
        except ApiError as error:
            finding = self._stuck("RequestFailed", str(error))
        except Exception as error:  # a defect: the status of this queue must tell of it
            if repr(error) != self._defect:
                logger.exception("reconciliation failed", extra=self._names())
            self._defect = repr(error)
            finding = self._stuck("InternalError", f"{error!r}; the operator's log tells more")
        self._count("blocked" if finding.problem else "unreadable" if finding.unreadable else "success")
        spec = self.resource.spec
        max_wait = None if spec is None else spec.objective.max_wait_seconds
        self._services.metrics.note_finding(self.resource.identity, finding, max_wait)
        await self._publish(finding)

    async def _find(self) -> Finding:
        spec = self.resource.spec
        if spec is None:
            return self._stuck("SpecInvalid", self.resource.problem)
        namespace, name = self.resource.identity.namespace, spec.scale_target_ref.name
        self._services.cluster.check_seen(namespace)
        others = [f"InferenceQueue {rival}" for rival in self._services.rivals(self.resource)]
        autoscaler = self._services.cluster.autoscaler(namespace, name)
        others += [] if autoscaler is None else [f"HorizontalPodAutoscaler {autoscaler}"]
        if others:
            message = f"Deployment {name} is also scaled by {', '.join(others)}; delete all but one of them"
            return self._stuck("ConflictingAutoscaler", message)
        target = self._services.cluster.target(namespace, name)
        if target is None:
            return self._stuck("ScaleTargetNotFound", f"there is no Deployment {name} in namespace {namespace}")
        link = await self._linker.connect(spec.queue)
        if link.rivals:
            message = (
                f"{link} is also scaled for by InferenceQueue {', '.join(link.rivals)}; delete all but one of them"
            )
            return self._stuck("ConflictingAutoscaler", message)
        try:
            observation, self._memory = await link.look(target.image, self._memory)
        except UnreadableError as error:
            self._services.metrics.queue_errors.labels(namespace, self.resource.identity.name).inc()
            self._linker.doubt()
            return await self._hold(spec, target, str(error))
        return await self._follow(spec, target, link, observation)

    async def _hold(self, spec: Spec, target: Target, unreadable: str) -> Finding:
        """Decide without a look at the queue: nothing is lowered, and after a while the fallback holds."""
        now = self._services.now()
        crew = muster(self._services.cluster.pods(target), (), (), beats=False)
        fleet = fleet_of(target, crew, (), self._services.cluster.server_time(now))
        decision = decide(spec.law_objective, Observation(now, fleet, None), self._memory)
        self._memory = decision.memory
        self._services.metrics.note_replicas(self.resource.identity, target.replicas, decision.desired)
        replicas = target.replicas
        if decision.desired > replicas and await self._set_replicas(target, decision.desired, decision.message):
            replicas = decision.desired
        since = self._memory.blind_since
        lasted = since is not None and now - since >= spec.fallback.after_seconds
        return self._found(
            spec, target, replicas, decision, unreadable=unreadable, fallback=lasted and not spec.suspend
        )

    async def _follow(self, spec: Spec, target: Target, link: QueueLink, observation: QueueObservation) -> Finding:
        """Decide from a look at the queue, and do it."""
        now = self._services.now()
        crew = self._muster(target, link, observation)
        await self._departures.settle(link, target, crew, observation)
        fleet = fleet_of(target, crew, self._starts.first, self._services.cluster.server_time(now))
        self._starts = self._starts.after(crew)
        look = look_at(observation)
        decision = decide(spec.law_objective, Observation(now, fleet, look), self._memory)
        self._memory = decision.memory
        self._holding = decision.holds_idle
        self._services.metrics.note_replicas(self.resource.identity, target.replicas, decision.desired)
        self._services.metrics.note_decision(self.resource.identity, look, decision, now)
        replicas = target.replicas
        if decision.desired > replicas and await self._set_replicas(target, decision.desired, decision.message):
            replicas = decision.desired
        obstacle = self._departures.obstacle(target, crew)
        if decision.desired < replicas and not obstacle:
            idle = idle_workers(crew, observation, self._memory.quiet_since, now)
            again = partial(self._look_again, spec, target, link, fleet)
            replicas = await self._scale_in(target, link, crew, decision, idle, again)
        elif decision.desired < replicas and self._departures.under_way:
            self._look_soon()
        await self._keep_rates(link, now)
        await self._tell(link, news_of(decision, replicas, observation))
        kept = (obstacle or "they hold jobs, or may hold some") if decision.desired < replicas else ""
        return self._found(spec, target, replicas, decision, kept=kept)

    async def _scale_in(
        self,
        target: Target,
        link: QueueLink,
        crew: Crew,
        decision: Decision,
        idle: Collection[str],
        look_again: Callable[[], Awaitable[int]],
    ) -> int:
        """Give up pods that were never made, then idle ones, and no others; return the replicas that there are now.

        `look_again` tells how many are wanted after they were barred: work that came in between keeps them.
        """
        excess = target.replicas - decision.desired
        unmade = min(excess, target.replicas - target.pods)
        granted = await self._departures.prepare(link, crew, excess - unmade, idle)
        fewer = target.replicas - unmade - len(granted)
        if fewer == target.replicas:
            return fewer
        done = (not granted or await look_again() <= fewer) and await self._set_replicas(
            target, fewer, decision.message
        )
        await self._departures.conclude(link, granted, done=done)
        return fewer if done else target.replicas

    async def _look_again(self, spec: Spec, target: Target, link: QueueLink, fleet: Fleet) -> int:
        """Decide once more on the same workers; gives the replicas, all that there are when nobody can tell."""
        try:
            observation, memory = await link.look(target.image, self._memory)
        except UnreadableError:
            return target.replicas
        seen = Observation(self._services.now(), replace(fleet, cold_starts=()), look_at(observation))
        decision = decide(spec.law_objective, seen, memory)
        self._memory = decision.memory
        return decision.desired

    def _muster(self, target: Target, link: QueueLink, observation: QueueObservation) -> Crew:
        pods = self._services.cluster.pods(target)
        beating = beating_workers(observation, pods)
        retired = observation.retired | {pod.name for pod in pods if pod.marked}
        return muster(pods, beating, retired, beats=link.learned.heard or bool(observation.workers))

    def _found(
        self,
        spec: Spec,
        target: Target,
        replicas: int,
        decision: Decision,
        *,
        unreadable: str | None = None,
        fallback: bool = False,
        kept: str = "",
    ) -> Finding:
        return Finding(
            replicas=replicas,
            desired=decision.desired,
            decision=decision,
            unreadable=unreadable,
            fallback=fallback,
            suspended=spec.suspend,
            scaled=replicas != target.replicas,
            kept=kept,
        )

    async def _set_replicas(self, target: Target, replicas: int, why: str) -> bool:
        """Patch `/scale`; False when others have changed it in between, which the next look takes up."""
        try:
            await self._services.cluster.scale(target, replicas)
        except (ConflictError, NotFoundError) as error:
            logger.info("not scaled", extra=self._names() | {"reason": str(error)})
            return False
        logger.info("scaled", extra=self._names() | {"before": target.replicas, "after": replicas, "why": why})
        self._services.metrics.note_scaling(self.resource.identity, target.replicas, replicas)
        event = events.scaled(target.name, target.replicas, replicas, why)
        await self._services.cluster.record(self.resource.identity, event)
        return True

    async def _keep_rates(self, link: QueueLink, now: float) -> None:
        try:
            await link.keep_rates(self._memory, now)
        except UnreadableError as error:
            logger.info("rates not kept", extra=self._names() | {"reason": str(error)})

    async def _tell(self, link: QueueLink, news: QueueDecision | None) -> None:
        try:
            if news is not None:
                await link.tell(news)
        except UnreadableError as error:
            logger.info("decision not told", extra=self._names() | {"reason": str(error)})

    # ---- telling ----

    async def _publish(self, finding: Finding) -> None:
        now, generation = self._services.now(), self.resource.generation
        status = status_of(finding, generation, self._status, now)
        if not is_due(self._status, status, time.monotonic() - self._status_at):
            return
        before, identity = self._status, self.resource.identity
        try:
            await self._services.cluster.publish(identity, status | {"memory": save_memory(self._memory)})
        except NotFoundError:
            self.gone = True
            return
        except ApiError as error:
            if not self._untold:
                logger.warning("status not published", extra=self._names() | {"error": str(error)})
            self._untold = True
            return
        self._untold = False
        self._status, self._status_at = status, time.monotonic()
        for event in events.transitions(before, status):
            await self._services.cluster.record(identity, event)

    def _stuck(self, reason: str, message: str) -> Finding:
        """Return a finding for what keeps this queue from being scaled."""
        spec, target = self.resource.spec, None
        if spec is not None:
            target = self._services.cluster.target(self.resource.identity.namespace, spec.scale_target_ref.name)
        return Finding(
            None if target is None else target.replicas,
            problem=(reason, message),
            suspended=spec is not None and spec.suspend,
        )

    def _count(self, result: str) -> None:
        identity = self.resource.identity
        self._services.metrics.reconciles.labels(identity.namespace, identity.name, result).inc()

    def _names(self) -> dict[str, str]:
        identity = self.resource.identity
        return {"namespace": identity.namespace, "inference_queue": identity.name}
