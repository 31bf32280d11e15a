"""The queues that this proxy talks to: one client each, made when first asked for."""

import redis.asyncio

from inferqueue_core.async_queue import AsyncRedisJobQueue
from inferqueue_core.jobs import Job
from inferqueue_core.policy import QueuePolicy
from inferqueue_proxy.coalescing import Coalescer
from inferqueue_proxy.submissions import Submissions

READS_PER_CALL = 256


class Queue:
    """One queue: its client, and the way in."""

    def __init__(self, client: AsyncRedisJobQueue, name: str) -> None:
        self.name = name
        self.client = client
        self.submissions = Submissions(client)


class Queues:
    """All queues by name; `default` is the one of QUEUE_NAME."""

    def __init__(self, client: redis.asyncio.Redis, policy: QueuePolicy, prefix: str, default: str) -> None:
        self._redis = client
        self._policy = policy
        self._prefix = prefix
        self._queues: dict[str, Queue] = {}
        self.default = self.get(default)
        # A job's keys do not depend on its queue, so one reader serves all.
        self._reads: Coalescer[str, Job | None] = Coalescer(self.default.client.jobs, READS_PER_CALL)

    def get(self, name: str) -> Queue:
        queue = self._queues.get(name)
        if queue is None:
            queue = Queue(AsyncRedisJobQueue(self._redis, name, self._policy, prefix=self._prefix), name)
            self._queues[name] = queue
        return queue

    async def of_job(self, job_id: str) -> Queue:
        """Return the queue that a job waits or runs in; the default one for jobs that do not say, or have ended."""
        target = await self.default.client.target(job_id)
        return self.get(target.queue) if target.queue else self.default

    def known(self) -> list[Queue]:
        """Return the queues asked for so far, the default one among them."""
        return list(self._queues.values())

    async def job(self, job_id: str) -> Job | None:
        """Read a job; None when it is unknown."""
        return await self._reads.ask(job_id)
