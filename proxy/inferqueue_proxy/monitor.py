"""What the proxy sees of its queues, their models and Redis: looked at each second, for rates, metrics, readiness."""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar, TypeVarTuple

from inferqueue_core.connection import ServerState
from inferqueue_core.errors import QueueError, QueueUnavailableError, QueueUnsuitableError
from inferqueue_core.jobs import QueueObservation
from inferqueue_proxy.catalog import Catalog
from inferqueue_proxy.problems import CatalogProblem
from inferqueue_proxy.queues import Queue, Queues
from inferqueue_proxy.refreshes import Refreshes

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
REFRESH_SECONDS = 0.1
"""Requests that would be refused share a look at Redis: they cause no more of them, however many they are."""

RATE_SECONDS = 10
PING_SECONDS = 1.0
COUNTERS = (
    *("submitted", "completed", "failed", "canceled", "expired"),
    *("retried", "dead", "redriven", "stale", "moved"),
)
ENDINGS = ("completed", "failed", "canceled", "expired")


@dataclass(frozen=True, slots=True)
class Look:
    """A queue at one moment, with its rates in jobs per second over the last seconds."""

    observation: QueueObservation
    submit_rate: float = 0
    finish_rate: float = 0

    @property
    def oldest_age_seconds(self) -> float | None:
        """How long the job at the front has been waiting; None when none waits or nobody knows."""
        samples = self.observation.samples
        return samples[0][1] if samples else None


class Monitor:
    """Looks at all known queues and at Redis.

    `looks` has the last look at each queue, `server` what Redis told of itself, None while it does not answer.
    `suitable` is whether it can hold queues, `losses` how often it has lost what it had acknowledged, by queue.
    """

    def __init__(self, queues: Queues, catalog: Catalog) -> None:
        self._queues = queues
        self._catalog = catalog
        self._history: dict[str, deque[QueueObservation]] = {}
        self._refreshes = Refreshes(self._refresh, REFRESH_SECONDS)
        self._missing: dict[str, int] = {}
        self._submitted: dict[str, int] = {}
        self._persists: bool | None = True
        self.suitable = False
        self.looks: dict[str, Look] = {}
        self.losses: Counter[str] = Counter()
        self.server: ServerState | None = None

    async def look(self, queue: Queue) -> Look:
        """Observe one queue now; raise QueueError when Redis does not answer."""
        observation = await queue.client.observe(samples=1)
        history = self._history.setdefault(queue.name, deque(maxlen=RATE_SECONDS + 1))
        self._note_loss(queue.name, observation)
        look = _rated(observation, history[0]) if history else Look(observation)
        if not history or observation.now_ms - history[-1].now_ms >= 900 * LOOK_SECONDS:
            history.append(observation)
        self.looks[queue.name] = look
        self._catalog.note(queue.name, observation)
        self._tell_missing(queue.name, observation.missing)
        return look

    def _note_loss(self, queue_name: str, now: QueueObservation) -> None:
        submitted = now.counters.get("submitted", 0)
        # Unlike looks this is kept during an outage, after which a Redis without its file is empty.
        lost, self._submitted[queue_name] = self._submitted.get(queue_name, 0) - submitted, submitted
        if lost > 0:
            self.losses[queue_name] += 1
            self._history[queue_name].clear()
            log.error(
                "Redis has lost what it had acknowledged",
                extra={
                    "queue": queue_name,
                    "submits_lost": lost,
                    "reason": "it was emptied, or is one that was behind the one before",
                },
            )

    def _tell_missing(self, queue_name: str, missing: int) -> None:
        told, self._missing[queue_name] = self._missing.get(queue_name, 0), max(0, missing)
        if missing > max(0, told):
            log.error(
                "accepted jobs are gone without an end: somebody deleted keys, or took ids out of the list",
                extra={"queue": queue_name, "missing": missing},
            )

    async def confirm(self, attempt: Callable[[*Ts], Awaitable[T]], *arguments: *Ts) -> T:
        """Return what `attempt` returns; when it raises a CatalogProblem, look at Redis and attempt once more.

        Nobody is refused by what has changed before the request came. Raises QueueError when Redis does not answer.
        """
        edition = self._catalog.edition
        try:
            return await attempt(*arguments)
        except CatalogProblem:
            await self._refreshes.fresh()
            if self._catalog.edition == edition:
                raise
        return await attempt(*arguments)

    def drain_seconds(self, queue_name: str) -> int:
        """Guess in how many seconds a full queue will have room again: the time for a hundredth of it, 1 to 60 s."""
        look = self.looks.get(queue_name)
        if look is None or look.finish_rate <= 0:
            return 5
        return min(60, max(1, round(look.observation.length / 100 / look.finish_rate)))

    async def ping(self) -> None:
        """Return when Redis takes writes within PING_SECONDS; raise QueueError when it does not."""
        try:
            async with asyncio.timeout(PING_SECONDS):
                await self._queues.default.client.ping()
        except TimeoutError:
            raise QueueUnavailableError(f"Redis does not answer within {PING_SECONDS:g} s") from None

    async def check(self) -> None:
        """Return when this Redis can hold the queues; raise QueueUnsuitableError or QueueUnavailableError otherwise."""
        await self.ping()
        if not self.suitable:
            await self._inspect()

    async def run(self) -> None:
        """Look at Redis and at every queue each second, for ever."""
        while True:
            try:
                await self.ping()
                await self._inspect()
                await self._refreshes.fresh()
            except QueueUnsuitableError as error:
                log.error("Redis is unsuitable", extra={"error": str(error)})
            except QueueError as error:
                log.warning("Redis cannot be read", extra={"error": str(error)})
                self.suitable = False
                self.looks.clear()
                self.server = None
            await asyncio.sleep(LOOK_SECONDS)

    async def _inspect(self) -> None:
        """Look whether this Redis can hold queues; it may be another one than before, or have new settings."""
        try:
            self.server = await self._queues.default.client.check()
        except QueueError:
            self.suitable = False
            raise
        self.suitable = True
        if self.server.persists is False and self._persists is not False:
            log.warning(
                "Redis keeps nothing on a disk",
                extra={"reason": "a restart of it loses all jobs; set `appendonly yes`"},
            )
        self._persists = self.server.persists

    async def _refresh(self) -> None:
        """Read the models, and look at every queue."""
        self._catalog.learn(await self._queues.default.client.models())
        for model in self._catalog.models:
            self._queues.get(model.queue)
        for queue in self._queues.known():
            await self.look(queue)


def monotonic_rate(now: int, before: int, seconds: float) -> float:
    """Return the growth of a counter per second; 0 after it was reset."""
    return max(0, now - before) / seconds if seconds > 0 else 0.0


def _rated(now: QueueObservation, before: QueueObservation) -> Look:
    seconds = (now.now_ms - before.now_ms) / 1000
    ended = sum(now.counters.get(name, 0) for name in ENDINGS)
    ended_before = sum(before.counters.get(name, 0) for name in ENDINGS)
    submitted = monotonic_rate(now.counters.get("submitted", 0), before.counters.get("submitted", 0), seconds)
    return Look(now, submitted, monotonic_rate(ended, ended_before, seconds))
