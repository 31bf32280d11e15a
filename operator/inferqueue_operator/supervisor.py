"""All the InferenceQueues that are served: one task each, so that none waits for another."""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Sequence

from inferqueue_operator.cluster import Cluster
from inferqueue_operator.errors import ApiError
from inferqueue_operator.metrics import OperatorMetrics
from inferqueue_operator.reconciler import Reconciler, Services
from inferqueue_operator.resource import InferenceQueue
from inferqueue_operator.servers import RedisServers
from inferqueue_operator.watches import Key

logger = logging.getLogger(__name__)

# A queue whose loop made no progress for so long is stuck: each reconciliation is bounded by less.
STALL_SECONDS = 60.0
_CENSUS_SECONDS = 60.0
_LEAVE_SECONDS = 5.0


class Supervisor:
    """Starts, updates and ends the reconcilers as objects come, change and go."""

    def __init__(
        self, cluster: Cluster, servers: RedisServers, metrics: OperatorMetrics, namespaces: Sequence[str]
    ) -> None:
        self._cluster = cluster
        self._servers = servers
        self._namespaces = namespaces
        self._services = Services(cluster, servers, metrics, self._rivals)
        self._reconcilers: dict[Key, Reconciler] = {}
        self._tasks: dict[Reconciler, asyncio.Task[None]] = {}
        self._by_target: defaultdict[Key, set[str]] = defaultdict(set)
        self._background: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Return when the cluster has been seen; decisions made before would be blind."""
        self._background = [
            asyncio.create_task(self._cluster.follow(), name="watches"),
            asyncio.create_task(self._count(), name="census"),
        ]
        await self._cluster.synced()

    async def stop(self) -> None:
        """End everything; what is under way is cut short and taken up again by the next operator."""
        tasks = [*self._tasks.values(), *self._background]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._servers.close()

    def follow(self, resource: InferenceQueue) -> None:
        """Serve this object, or its new state."""
        key = _key(resource)
        known = self._reconcilers.get(key)
        if known is not None and (known.gone or known.resource.identity != resource.identity):
            self.forget(known.resource)
            known = None
        if known is not None:
            self._unclaim(known.resource)
            known.update(resource)
        else:
            known = self._reconcilers[key] = Reconciler(resource, self._services)
            self._tasks[known] = asyncio.create_task(self._run(known), name=f"queue {'/'.join(key)}")
        self._claim(known.resource)

    def forget(self, resource: InferenceQueue) -> None:
        """Serve this object no longer: it was deleted."""
        key = _key(resource)
        reconciler = self._reconcilers.get(key)
        if reconciler is not None and reconciler.resource.identity == resource.identity:
            del self._reconcilers[key]
            self._unclaim(reconciler.resource)
            reconciler.gone = True
            task = self._tasks[reconciler]
            if task is not asyncio.current_task():
                task.cancel()

    def stalled(self) -> list[str]:
        """Name the queues whose loops are stuck."""
        now = time.monotonic()
        stuck = ["/".join(key) for key, known in self._reconcilers.items() if now - known.progress_at > STALL_SECONDS]
        return stuck + [task.get_name() for task in self._background if task.done()]

    async def _run(self, reconciler: Reconciler) -> None:
        try:
            await reconciler.run()
        finally:
            if reconciler.gone:
                self.forget(reconciler.resource)
            try:
                async with asyncio.timeout(_LEAVE_SECONDS):
                    await reconciler.leave()
            except TimeoutError:
                logger.warning("queue not left in order", extra={"queue": "/".join(_key(reconciler.resource))})
            del self._tasks[reconciler]

    def _target(self, resource: InferenceQueue) -> Key | None:
        if resource.spec is None:
            return None
        return resource.identity.namespace, resource.spec.scale_target_ref.name

    def _claim(self, resource: InferenceQueue) -> None:
        target = self._target(resource)
        if target is not None:
            self._by_target[target].add(resource.identity.name)

    def _unclaim(self, resource: InferenceQueue) -> None:
        target = self._target(resource)
        if target is not None:
            self._by_target[target].discard(resource.identity.name)
            if not self._by_target[target]:
                del self._by_target[target]

    def _rivals(self, resource: InferenceQueue) -> list[str]:
        target = self._target(resource)
        if target is None:
            return []
        return sorted(self._by_target.get(target, set()) - {resource.identity.name})

    async def _count(self) -> None:
        """Now and then forget objects that were deleted while nobody watched: kopf tells of what is there alone."""
        while True:
            await asyncio.sleep(_CENSUS_SECONDS)
            before = dict(self._reconcilers)
            try:
                there = await self._cluster.queues(self._namespaces)
            except ApiError as error:
                logger.warning("census failed", extra={"error": str(error)})
                continue
            for key, known in before.items():
                if known.resource.identity.uid not in there and self._reconcilers.get(key) is known:
                    self.forget(known.resource)


def _key(resource: InferenceQueue) -> Key:
    return resource.identity.namespace, resource.identity.name
