"""The link from an InferenceQueue to its queue in Redis."""

import base64
import binascii
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence

from inferqueue_core.jobs import QueueDecision, QueueObservation
from inferqueue_core.scaling import Memory
from inferqueue_core.scaling.looks import SAMPLES
from inferqueue_operator.cluster import Cluster
from inferqueue_operator.errors import ApiError, ForbiddenError, NotFoundError, SpecError, UnreadableError
from inferqueue_operator.learned import LearnedRates
from inferqueue_operator.resource import Identity, QueueRef, SecretRef
from inferqueue_operator.servers import Address, RedisServers

logger = logging.getLogger(__name__)

_SECRET_SECONDS = 30.0
# While the queue cannot be read: its password may have been changed.
_DOUBTED_SECONDS = 5.0


class QueueLink:
    """One queue on one server: looks at it, bars workers, and keeps what was learned there.

    Each method that talks to Redis raises UnreadableError when that fails or takes too long.
    """

    def __init__(
        self, servers: RedisServers, address: Address | None, name: str, owner: str, hear: Callable[[bytes], None]
    ) -> None:
        self._servers = servers
        self._server = server = servers.acquire(address)
        self._queue = server.queue(name)
        self._name = name
        self._owner = owner
        self._hear = hear
        self.learned = LearnedRates(self._queue.keys.learned)
        servers.follow(server, name, owner)
        server.listen(self._queue.keys.wake, hear)

    def __str__(self) -> str:
        return f"queue {self._name} at {self._server.address}"

    @property
    def place(self) -> tuple[str, str]:
        """What tells this queue from others, however its address is written."""
        return self._server.place, self._name

    @property
    def rivals(self) -> list[str]:
        """Name the other InferenceQueues that follow this queue."""
        return self._servers.rivals(self._server, self._name, self._owner)

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

    async def tell(self, decision: QueueDecision) -> None:
        """Show a decision to those who read the queue."""
        async with self._server.turn():
            await self._queue.publish_decision(decision)

    async def retire(self, workers: Sequence[str]) -> frozenset[str]:
        """Bar those of `workers` that hold nothing from claiming, and name them."""
        async with self._server.turn():
            return await self._queue.retire(workers)

    async def unretire(self, workers: Collection[str]) -> None:
        async with self._server.turn():
            await self._queue.unretire(list(workers))

    async def welcome_all(self) -> None:
        """Let all retired workers claim again: nobody is going to stop them now."""
        async with self._server.turn():
            await self._queue.unretire(list((await self._queue.observe()).retired))

    async def close(self) -> None:
        self._servers.unfollow(self._server, self._name, self._owner)
        self._server.unlisten(self._queue.keys.wake, self._hear)
        await self._servers.release(self._server)


class Linker:
    """Makes the link that a specification asks for, and a new one when its address changes.

    `hear` is called with what the queue's wake channel says.
    """

    def __init__(self, cluster: Cluster, servers: RedisServers, owner: Identity, hear: Callable[[bytes], None]) -> None:
        self._cluster = cluster
        self._servers = servers
        self._owner = owner
        self._hear = hear
        self._reference: QueueRef | None = None
        self._found: Address | None = None
        self._read_at = 0.0
        self.link: QueueLink | None = None

    async def connect(self, reference: QueueRef) -> QueueLink:
        """Return the link; raises SpecError when its address cannot be found or used, ForbiddenError for a Secret."""
        address = await self._address(reference)
        if self.link is None or reference.name != self._name or address != self._found:
            before, self.link = self.link, None
            try:
                self.link = QueueLink(self._servers, address, reference.name, str(self._owner), self._hear)
            finally:
                if before is not None:
                    await self._leave(before)
        self._reference, self._found = reference, address
        return self.link

    def doubt(self) -> None:
        """Read the Secret again soon: what it told no longer works."""
        self._read_at = min(self._read_at, time.monotonic() - _SECRET_SECONDS + _DOUBTED_SECONDS)

    async def _leave(self, link: QueueLink) -> None:
        """Close a link; workers of a queue that is no longer ours are let go, not so when only its password changed."""
        try:
            if self.link is None or self.link.place != link.place:
                await link.welcome_all()
        except UnreadableError as error:
            logger.warning(
                "retired workers stay retired", extra={"inference_queue": self._owner.name, "error": str(error)}
            )
        finally:
            await link.close()

    async def disconnect(self, *, for_good: bool) -> None:
        """Close the link; `for_good`: nobody goes on with this queue after us."""
        link, self.link = self.link, None
        if link is not None:
            await (self._leave(link) if for_good else link.close())

    @property
    def _name(self) -> str | None:
        return None if self._reference is None else self._reference.name

    async def _address(self, reference: QueueRef) -> Address | None:
        if reference.redis is None:
            return None
        if reference.redis.url is not None:
            return Address(reference.redis.url)
        assert reference.redis.secret_ref is not None
        now = time.monotonic()
        known = self.link is not None and reference == self._reference
        if known and now - self._read_at < _SECRET_SECONDS:
            return self._found
        try:
            address = await self._read_secret(reference.redis.secret_ref)
        except (NotFoundError, ForbiddenError):
            raise
        except ApiError:
            if not known:
                raise
            return self._found
        self._read_at = now
        return address

    async def _read_secret(self, secret: SecretRef) -> Address:
        try:
            data = await self._cluster.secret(self._owner.namespace, secret.name)
        except NotFoundError:
            message = f"there is no Secret {secret.name} in namespace {self._owner.namespace}"
            raise SpecError(message, "SecretNotFound") from None
        authorities = None if secret.ca_key is None else _text(data, secret.name, secret.ca_key)
        return Address(_text(data, secret.name, secret.key), authorities)


def _text(data: Mapping[str, str], secret: str, key: str) -> str:
    if key not in data:
        raise SpecError(f"Secret {secret} has no key {key}", "SecretNotFound")
    try:
        return base64.b64decode(data[key]).decode().strip()
    except (binascii.Error, UnicodeDecodeError):
        raise SpecError(f"key {key} of Secret {secret} is no text") from None
