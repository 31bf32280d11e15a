"""Scale-in in order: idle workers are barred from claiming, marked as cheap to delete, and only then given up."""

import asyncio
import logging
import time
from collections.abc import Collection, Iterable, Mapping, Sequence

from inferqueue_core.jobs import QueueObservation
from inferqueue_operator.cluster import Cluster
from inferqueue_operator.errors import ApiError, UnreadableError
from inferqueue_operator.links import QueueLink
from inferqueue_operator.looks import Crew
from inferqueue_operator.scale_in import plan_departure, survivors, to_bar
from inferqueue_operator.workloads import Pod, Target

logger = logging.getLogger(__name__)

# Deletions that a scale-in has set off show within this time; only then are retired pods that live on let go.
_AFTERMATH = 2.0


class Departures:
    """The scale-ins of one Deployment."""

    def __init__(self, cluster: Cluster, names: Mapping[str, str]) -> None:
        self._cluster = cluster
        self._names = names
        self._prepared_at = -1e9

    @property
    def under_way(self) -> bool:
        """Whether a scale-in has begun so lately that it will soon be no obstacle to the next one."""
        return time.monotonic() - self._prepared_at < _AFTERMATH

    def obstacle(self, target: Target, crew: Crew) -> str:
        """Say what keeps us from knowing which pods a scale-in would take; nothing when we know."""
        if target.rolling:
            return "a rollout of the Deployment is under way"
        if not target.settled or crew.retired:
            return "an earlier scale-in is under way"
        if len(crew.live) != target.pods:
            return f"the Deployment tells of {target.pods} pods and {len(crew.live)} are seen"
        return ""

    async def prepare(self, link: QueueLink, crew: Crew, count: int, idle: Collection[str]) -> tuple[Pod, ...]:
        """Bar and mark up to `count` pods that hold nothing, and name those that may be given up now."""
        departure = plan_departure(crew, count, idle)
        if not departure.pods:
            return ()
        self._prepared_at = time.monotonic()
        names = [pod.name for pod in departure.pods]
        barred = await self._retire(link, names)
        if barred is None:
            await self._unretire(link, names)
            return ()
        granted = departure.granted(barred)
        await self._unretire(link, barred.difference(pod.name for pod in granted))
        marks = await asyncio.gather(*(self._cluster.mark(pod, cheap=True) for pod in granted), return_exceptions=True)
        failed = next((mark for mark in marks if mark is not None), None)
        if failed is not None:
            logger.info("not scaled in", extra={**self._names, "reason": str(failed)})
            await self._welcome(link, granted)
            return ()
        return granted

    async def conclude(self, link: QueueLink, granted: Iterable[Pod], *, done: bool) -> None:
        """Take the preparation back when `/scale` could not be patched."""
        if not done:
            await self._welcome(link, granted)

    async def settle(self, link: QueueLink, target: Target, crew: Crew, observation: QueueObservation) -> None:
        """Let retired pods that nothing will delete work again, and forget retired workers that are gone.

        Pods on their way out are barred, also those that somebody else deletes: one that is still starting could begin
        to claim. Pods that are about to be deleted are barred again when Redis has lost that.
        """
        there = {pod.name for pod in (*crew.live, *crew.leaving)} | {worker.name for worker in observation.workers}
        await self._unretire(link, observation.retired - there)
        unbarred = to_bar(crew, target.replicas, observation)
        if unbarred:
            await self._retire(link, unbarred)
        if crew.retired and not self.under_way:
            await self._welcome(link, survivors(crew, target))

    async def _welcome(self, link: QueueLink, pods: Iterable[Pod]) -> None:
        pods = list(pods)
        await self._unretire(link, [pod.name for pod in pods])
        for pod in pods:
            try:
                await self._cluster.mark(pod, cheap=False)
            except ApiError as error:
                # A pod that vanished needs nothing; any other is still seen as marked at the next look.
                logger.debug("mark not taken back", extra={**self._names, "pod": pod.name, "reason": str(error)})

    async def _retire(self, link: QueueLink, workers: Sequence[str]) -> frozenset[str] | None:
        """Bar those that hold nothing, and name them; None when nobody knows who is barred now."""
        try:
            return await link.retire(workers)
        except UnreadableError as error:
            logger.info("not retired", extra={**self._names, "reason": str(error)})
            return None

    async def _unretire(self, link: QueueLink, workers: Collection[str]) -> None:
        """Let workers claim again; those that this fails for are still seen as retired at the next look."""
        if not workers:
            return
        try:
            await link.unretire(workers)
        except UnreadableError as error:
            logger.info("not unretired", extra={**self._names, "reason": str(error)})
