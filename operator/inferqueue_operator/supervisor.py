"""All the InferenceQueues that are served: one task each, so that none waits for another."""

import asyncio
import logging
import time
from collections import defaultdict

from inferqueue_core.cancellation import end_tasks
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

    def __init__(self, cluster: Cluster, servers: RedisServers, metrics: OperatorMetrics) -> None:
        self._cluster = cluster
        self._servers = servers
        self._services = Services(cluster, servers, metrics, self._rivals)
        self._reconcilers: dict[Key, Reconciler] = {}
        self._tasks: dict[Reconciler, asyncio.Task[None]] = {}
        self._ending: dict[Key, asyncio.Task[None]] = {}
        self._by_target: defaultdict[Key, set[str]] = defaultdict(set)
        self._background: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Return when the API server has answered for all that is watched."""
        self._background = [
            asyncio.create_task(self._cluster.follow(), name="watches"),
            asyncio.create_task(self._count(), name="census"),
        ]
        await self._cluster.answered()

    async def stop(self) -> None:
        """End everything; what is under way is cut short and taken up again by the next operator."""
        tasks = list(self._tasks.values())
        for reconciler, task in self._tasks.items():
            reconciler.stop()
            task.cancel()
        await end_tasks(self._background)
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
            self._start(known, key)
        self._claim(known.resource)

    def forget(self, resource: InferenceQueue) -> None:
        """Serve this object no longer: it was deleted."""
        key = _key(resource)
        reconciler = self._reconcilers.get(key)
        if reconciler is not None and reconciler.resource.identity == resource.identity:
            del self._reconcilers[key]
            self._unclaim(reconciler.resource)
            reconciler.gone = True
            reconciler.stop()
            task = self._ending[key] = self._tasks[reconciler]
            if task is not asyncio.current_task():
                task.cancel()

    def stalled(self) -> list[str]:
        """Name the queues whose loops are stuck."""
        now = time.monotonic()
        stuck = ["/".join(key) for key, known in self._reconcilers.items() if now - known.progress_at > STALL_SECONDS]
        return stuck + [task.get_name() for task in self._background if task.done()]

    def _start(self, reconciler: Reconciler, key: Key) -> None:
        run = self._run(reconciler, self._ending.get(key))
        task = self._tasks[reconciler] = asyncio.create_task(run, name=f"queue {'/'.join(key)}")

        def ended(_: asyncio.Task[None]) -> None:
            del self._tasks[reconciler]
            if self._ending.get(key) is task:
                del self._ending[key]

        task.add_done_callback(ended)

    async def _run(self, reconciler: Reconciler, predecessor: asyncio.Task[None] | None) -> None:
        try:
            if predecessor is not None:
                # One that was deleted still lets its workers go: it must not undo what its namesake begins.
                await asyncio.wait([predecessor])
            await reconciler.run()
        finally:
            if reconciler.gone:
                self.forget(reconciler.resource)
            try:
                async with asyncio.timeout(_LEAVE_SECONDS):
                    await reconciler.leave()
            except TimeoutError:
                logger.warning("queue not left in order", extra={"queue": "/".join(_key(reconciler.resource))})

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
        """Now and then hold what is served against what there is.

        kopf does not tell of objects that were deleted while it did not watch, and a watch of its may fall silent.
        """
        while True:
            await asyncio.sleep(_CENSUS_SECONDS)
            for namespace in {namespace for namespace, _ in self._reconcilers}:
                await self._count_in(namespace)

    async def _count_in(self, namespace: str) -> None:
        before = [known for (place, _), known in self._reconcilers.items() if place == namespace]
        try:
            there = await self._cluster.queues(namespace)
        except ApiError as error:
            logger.warning("census failed", extra={"namespace": namespace, "error": str(error)})
            return
        identities = {resource.identity for resource in there}
        for known in before:
            if known.resource.identity not in identities:
                self.forget(known.resource)
        for resource in there:
            # An object of the same name that is served already is the younger one: this list may be old by now.
            served = self._reconcilers.get(_key(resource))
            if served is None or served.resource.identity == resource.identity:
                self.follow(resource)


def _key(resource: InferenceQueue) -> Key:
    return resource.identity.namespace, resource.identity.name
