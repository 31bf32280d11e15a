"""The link from an InferenceQueue to its queue in Redis."""

import base64
import binascii
import time
from collections.abc import Callable, Collection, Sequence

from inferqueue_core.jobs import QueueObservation
from inferqueue_core.scaling import Memory
from inferqueue_core.scaling.looks import SAMPLES
from inferqueue_operator.cluster import Cluster
from inferqueue_operator.errors import ApiError, ForbiddenError, NotFoundError, SpecError
from inferqueue_operator.learned import LearnedRates
from inferqueue_operator.resource import QueueRef, SecretRef
from inferqueue_operator.servers import RedisServer, RedisServers

_SECRET_SECONDS = 30.0


class QueueLink:
    """One queue on one server: looks at it, bars workers, and keeps what was learned there.

    Each method that talks to Redis raises UnreadableError when that fails or takes too long.
    """

    def __init__(self, server: RedisServer, name: str, woken: Callable[[], None]) -> None:
        self._server = server
        self._queue = server.queue(name)
        self._woken = woken
        self.learned = LearnedRates(self._queue.keys.learned)
        server.listen(self._queue.keys.wake, woken)

    async def look(self, image: str, memory: Memory) -> tuple[QueueObservation, Memory]:
        """Look at the queue; the first time with this image, the memory comes with what is known of it."""
        async with self._server.turn() as client:
            if not self.learned.is_current(image):
                memory = await self.learned.recall(client, image, memory)
            return await self._queue.observe(SAMPLES), memory

    async def keep_rates(self, memory: Memory, now: float) -> None:
        """Save what was learned, when it is new."""
        if self.learned.is_due(memory, now):
            async with self._server.turn() as client:
                await self.learned.save(client, memory, now)

    async def retire(self, workers: Sequence[str]) -> frozenset[str]:
        """Bar those of `workers` that hold nothing from claiming, and name them."""
        async with self._server.turn():
            return await self._queue.retire(workers)

    async def unretire(self, workers: Collection[str]) -> None:
        async with self._server.turn():
            await self._queue.unretire(list(workers))

    async def retired(self) -> frozenset[str]:
        async with self._server.turn():
            return (await self._queue.observe()).retired

    async def close(self, servers: RedisServers) -> None:
        self._server.unlisten(self._queue.keys.wake, self._woken)
        await servers.release(self._server)


class Linker:
    """Makes the link that a specification asks for, and a new one when its address changes."""

    def __init__(self, cluster: Cluster, servers: RedisServers, namespace: str, woken: Callable[[], None]) -> None:
        self._cluster = cluster
        self._servers = servers
        self._namespace = namespace
        self._woken = woken
        self._reference: QueueRef | None = None
        self._url: str | None = None
        self._read_at = 0.0
        self.link: QueueLink | None = None

    async def connect(self, reference: QueueRef) -> QueueLink:
        """Give the link; raises SpecError when its address cannot be found or used, ForbiddenError for a Secret."""
        url = await self._address(reference)
        if self.link is None or reference.name != self._name or url != self._url:
            await self.disconnect()
            self.link = QueueLink(self._servers.acquire(url), reference.name, self._woken)
        self._reference, self._url = reference, url
        return self.link

    async def disconnect(self) -> None:
        link, self.link = self.link, None
        if link is not None:
            await link.close(self._servers)

    @property
    def _name(self) -> str | None:
        return None if self._reference is None else self._reference.name

    async def _address(self, reference: QueueRef) -> str | None:
        if reference.redis is None or reference.redis.secret_ref is None:
            return None if reference.redis is None else reference.redis.url
        now = time.monotonic()
        known = self.link is not None and reference == self._reference
        if known and now - self._read_at < _SECRET_SECONDS:
            return self._url
        try:
            url = await self._read_secret(reference.redis.secret_ref)
        except (NotFoundError, ForbiddenError):
            raise
        except ApiError:
            if not known:
                raise
            return self._url
        self._read_at = now
        return url

    async def _read_secret(self, secret: SecretRef) -> str:
        try:
            data = await self._cluster.secret(self._namespace, secret.name)
        except NotFoundError:
            message = f"there is no Secret {secret.name} in namespace {self._namespace}"
            raise SpecError(message, "SecretNotFound") from None
        if secret.key not in data:
            raise SpecError(f"Secret {secret.name} has no key {secret.key}", "SecretNotFound")
        try:
            return base64.b64decode(data[secret.key]).decode().strip()
        except (binascii.Error, UnicodeDecodeError):
            raise SpecError(f"key {secret.key} of Secret {secret.name} is no text") from None
