"""Connections to Redis, shared by all queues of one server, and the wake-ups that it publishes."""

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import redis
import redis.asyncio

from inferqueue_core.async_queue import AsyncRedisJobQueue
from inferqueue_core.cancellation import end_tasks
from inferqueue_core.connection import connect_async
from inferqueue_core.errors import QueueError
from inferqueue_core.policy import QueuePolicy
from inferqueue_core.queue_settings import RedisSettings
from inferqueue_operator.errors import SpecError, UnreadableError

logger = logging.getLogger(__name__)

# A queue's turn: waiting for a connection, sending, and the answer. A server that takes longer counts as away.
PATIENCE = 2.0
_CONNECTIONS = 8
_WAKE_POLL = 0.5
_RECONNECT_PAUSE = 1.0


@dataclass(frozen=True, slots=True)
class Address:
    """Where a Redis is: its URL, and the CA certificates (PEM) that vouch for it if those of the operator do not."""

    url: str
    authorities: str | None = None


class RedisServer:
    """One Redis with a few connections for all the queues on it.

    Raises ValueError, TypeError or RedisError when the address has options that the client does not know.
    """

    def __init__(self, settings: RedisSettings, authorities: str | None = None) -> None:
        self._settings = settings
        self._client = connect_async(settings)
        if authorities is not None:
            self._client.connection_pool.connection_kwargs["ssl_ca_data"] = authorities
        # It does not connect yet, but it looks at the options.
        self._client.connection_pool.make_connection()
        self._turns = asyncio.Semaphore(_CONNECTIONS)
        self._listeners: defaultdict[str, list[Callable[[bytes], None]]] = defaultdict(list)
        self._listening: asyncio.Task[None] | None = None
        self.users = 0

    @property
    def address(self) -> str:
        """The address without its password, or whatever else its options hold."""
        return self._settings.safe_url.partition("?")[0]

    @property
    def place(self) -> str:
        """What tells this server and database from others, however its address is written."""
        settings, options = self._settings, self._client.connection_pool.connection_kwargs
        if settings.redis_sentinels:
            return f"{settings.key_prefix} {settings.safe_url}"
        place = options.get("path") or f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"
        return f"{settings.key_prefix} {place}/{options.get('db', 0)}"

    def queue(self, name: str) -> AsyncRedisJobQueue:
        return AsyncRedisJobQueue(self._client, name, QueuePolicy(), prefix=self._settings.key_prefix)

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[redis.asyncio.Redis]:
        """Hold one of the connections, for `PATIENCE` seconds at most; raises UnreadableError whatever goes wrong."""
        try:
            async with asyncio.timeout(PATIENCE), self._turns:
                yield self._client
        except TimeoutError:
            raise UnreadableError(f"Redis at {self.address} did not answer within {PATIENCE:g} s") from None
        except (QueueError, redis.RedisError, OSError, ValueError) as error:
            raise UnreadableError(f"Redis at {self.address}: {error}") from error

    def listen(self, channel: str, hear: Callable[[bytes], None]) -> None:
        """Call `hear` with every message on `channel`."""
        self._listeners[channel].append(hear)
        if self._listening is None:
            self._listening = asyncio.create_task(self._hear(), name=f"wake-ups of {self.address}")

    def unlisten(self, channel: str, hear: Callable[[bytes], None]) -> None:
        with contextlib.suppress(ValueError):
            self._listeners[channel].remove(hear)
        if not self._listeners[channel]:
            del self._listeners[channel]

    async def close(self) -> None:
        if self._listening is not None:
            await end_tasks([self._listening])
        await self._client.aclose()

    async def _hear(self) -> None:
        """Listen for ever; while Redis is away the queues are looked at every second all the same."""
        while True:
            try:
                async with self._client.pubsub(ignore_subscribe_messages=True) as subscription:
                    await self._hear_on(subscription)
            except (redis.RedisError, OSError):
                await asyncio.sleep(_RECONNECT_PAUSE)

    async def _hear_on(self, subscription: Any) -> None:
        subscribed: set[str] = set()
        while True:
            wanted = set(self._listeners)
            if wanted - subscribed:
                await subscription.subscribe(*(wanted - subscribed))
            if subscribed - wanted:
                await subscription.unsubscribe(*(subscribed - wanted))
            subscribed = wanted
            if not subscribed:
                await asyncio.sleep(_WAKE_POLL)
                continue
            message = await subscription.get_message(timeout=_WAKE_POLL)
            if message is not None:
                for hear in list(self._listeners.get(message["channel"].decode(), ())):
                    hear(message["data"])


class RedisServers:
    """The servers in use: one per address, given up when its last queue has left; and who scales for which queue."""

    def __init__(self, own: RedisSettings) -> None:
        self._own = own
        self._servers: dict[Address | None, RedisServer] = {}
        self._followers: defaultdict[tuple[str, str], list[str]] = defaultdict(list)

    def acquire(self, address: Address | None) -> RedisServer:
        """Return the server there, None for the operator's own; raises SpecError when that is no address."""
        server = self._servers.get(address)
        if server is None:
            server = self._servers[address] = self._open(address)
        server.users += 1
        return server

    def follow(self, server: RedisServer, queue: str, owner: str) -> None:
        """Note who scales for a queue."""
        self._followers[(server.place, queue)].append(owner)

    def unfollow(self, server: RedisServer, queue: str, owner: str) -> None:
        followers = self._followers[(server.place, queue)]
        followers.remove(owner)
        if not followers:
            del self._followers[(server.place, queue)]

    def rivals(self, server: RedisServer, queue: str, owner: str) -> list[str]:
        """Name the others that scale for a queue."""
        return sorted({*self._followers[(server.place, queue)]} - {owner})

    async def release(self, server: RedisServer) -> None:
        server.users -= 1
        if server.users == 0:
            self._servers = {url: known for url, known in self._servers.items() if known is not server}
            await server.close()

    async def close(self) -> None:
        servers, self._servers = list(self._servers.values()), {}
        for server in servers:
            await server.close()

    def _open(self, address: Address | None) -> RedisServer:
        if address is None:
            return RedisServer(self._own)
        secure = address.url.startswith("rediss:")
        if address.authorities is not None and not secure:
            raise SpecError("there are CA certificates for Redis, but its address does not begin with rediss://")
        authorities = self._own.redis_tls_ca_file if secure and address.authorities is None else None
        try:
            # The operator's own settings with another address: credentials of its own server go nowhere else.
            settings = RedisSettings.checked(
                redis_url=address.url, key_prefix=self._own.key_prefix, redis_tls_ca_file=authorities
            )
            return RedisServer(settings, address.authorities)
        except (ValueError, TypeError, redis.RedisError) as error:
            raise SpecError(f"the address of Redis cannot be used: {error}") from None
