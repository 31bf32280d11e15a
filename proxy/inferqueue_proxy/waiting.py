"""Waiting for jobs to end: one Pub/Sub connection for all who wait, and a slow poll as a net below it.

Messages are only hints that a job is worth reading: a worker need not publish any. A lost one costs at most as long
again as was waited before it: the poll begins at FIRST_POLL_SECONDS and slows down to POLL_SECONDS.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self

import redis
import redis.asyncio
from redis.asyncio.connection import AbstractConnection as Connection
from starlette.requests import ClientDisconnect

from inferqueue_core.cancellation import end_tasks
from inferqueue_core.errors import QueueError
from inferqueue_core.jobs import Job
from inferqueue_core.keys import events_channel
from inferqueue_core.queue import backoff_seconds
from inferqueue_proxy.problems import Problem

log = logging.getLogger(__name__)

FIRST_POLL_SECONDS = 0.05
POLL_SECONDS = 0.5
PING_SECONDS = 2.0
SILENCE_SECONDS = 5.0
STALE_CHANNELS = 64  # an ended job says nothing more, so unsubscribing can wait for others

ReadJob = Callable[[str], Awaitable[Job | None]]


class Watch:
    """One client's wait for one job; as a context manager, it is subscribed to the job's events meanwhile.

    Entered before the job is submitted, so that its end is heard. The subscription and the submission are under way at
    the same time; where the subscription is confirmed only after the job was accepted, the job is read again. One
    that ends between its acceptance and a late subscription is found by the first poll.
    """

    def __init__(self, waiting: "Waiting", job_id: str) -> None:
        self.job_id = job_id
        self._waiting = waiting
        self._hinted = False
        self._sleeper: asyncio.Future[None] | None = None
        self._exists = False

    def __enter__(self) -> Self:
        self._waiting.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._waiting.remove(self)

    def follow(self, job_id: str) -> None:
        """Watch another job from now on."""
        self._waiting.remove(self)
        self.job_id = job_id
        self._exists = True
        self._waiting.add(self)

    def hint(self) -> None:
        """Say that the job may have changed."""
        self._hinted = True
        self._wake()

    def confirm(self) -> None:
        """Say that the job's events are heard from now on: what it did before must be looked at."""
        if self._exists:
            self.hint()

    async def ended(self, seconds: float, last: Job | None, is_gone: Callable[[], Awaitable[bool]]) -> Job | None:
        """Return the job when it has ended, or as it is after `seconds` or at a shutdown.

        `last` is what is known of it, given back when Redis is away. Raises ClientDisconnect when the client is gone,
        and a Problem when Redis no longer knows the job, which must exist.
        """
        self._exists = True
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        pause = FIRST_POLL_SECONDS
        while True:
            left = deadline - loop.time()
            hinted = await self._sleep(min(left, pause))
            pause = min(2 * pause, POLL_SECONDS)
            final = left <= 0 or self._waiting.draining
            try:
                last = await self._waiting.read(self.job_id)
            except QueueError:
                if not final:
                    await asyncio.sleep(min(left, POLL_SECONDS))
            else:
                if last is None:
                    raise _lost(self.job_id)
                if last.status.is_final:
                    return last
            if final:
                return last
            if not hinted and await is_gone():
                raise ClientDisconnect

    async def _sleep(self, seconds: float) -> bool:
        """Sleep until hinted at, at most `seconds`; tell whether a hint came."""
        if not self._hinted and seconds > 0 and not self._waiting.draining:
            loop = asyncio.get_running_loop()
            self._sleeper = loop.create_future()
            alarm = loop.call_later(seconds, self._wake)
            try:
                await self._sleeper
            finally:
                alarm.cancel()
                self._sleeper = None
        hinted, self._hinted = self._hinted, False
        return hinted

    def _wake(self) -> None:
        if self._sleeper is not None and not self._sleeper.done():
            self._sleeper.set_result(None)


def _lost(job_id: str) -> Problem:
    return Problem(
        "job-lost",
        f"job {job_id} was accepted, but Redis no longer knows it: it was emptied, or has failed over to a server that "
        "was behind; send the data again",
        job_id=job_id,
    )


class Waiting:
    """Everyone who waits. `client` is for its one connection alone; `read` reads a job."""

    def __init__(self, client: redis.asyncio.Redis, read: ReadJob, prefix: str) -> None:
        self.read = read
        self.draining = False
        self._client = client
        self._prefix = prefix
        self._watches: dict[bytes, set[Watch]] = {}
        # Channels to subscribe to, subscribed to, confirmed by Redis, and no longer needed.
        self._new: set[bytes] = set()
        self._subscribed: set[bytes] = set()
        self._confirmed: set[bytes] = set()
        self._stale: set[bytes] = set()
        self._wake = asyncio.Event()

    def watch(self, job_id: str) -> Watch:
        return Watch(self, job_id)

    @property
    def count(self) -> int:
        """How many clients wait now."""
        return sum(len(watches) for watches in self._watches.values())

    def drain(self) -> None:
        """Let everybody who waits go with what is known now."""
        self.draining = True
        self._hint_all()

    def add(self, watch: Watch) -> None:
        channel = self._channel(watch)
        self._watches.setdefault(channel, set()).add(watch)
        self._stale.discard(channel)
        if channel in self._confirmed:
            watch.confirm()
        elif channel not in self._subscribed:
            self._new.add(channel)
            self._wake.set()

    def remove(self, watch: Watch) -> None:
        channel = self._channel(watch)
        watches = self._watches[channel]
        watches.discard(watch)
        if not watches:
            del self._watches[channel]
            self._new.discard(channel)
            if channel in self._subscribed:
                self._stale.add(channel)

    async def run(self) -> None:
        """Keep the connection, for ever: after every failure it is made again and everybody is told to look."""
        attempt = 0
        while True:
            try:
                async with self._connection() as connection:
                    attempt = 0
                    await self._converse(connection)
            except (redis.RedisError, OSError) as error:
                log.warning("the connection for job events is lost", extra={"error": str(error)})
            self._hint_all()
            attempt += 1
            await asyncio.sleep(backoff_seconds(attempt))

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        pool = self._client.connection_pool
        connection = await pool.get_connection()
        try:
            yield connection
        finally:
            await connection.disconnect(nowait=True)
            await pool.release(connection)

    async def _converse(self, connection: Connection) -> None:
        self._new = set(self._watches)
        for channels in (self._subscribed, self._confirmed, self._stale):
            channels.clear()
        writer = asyncio.create_task(self._write(connection))
        try:
            await self._hear(connection)
        finally:
            await end_tasks([writer])

    async def _write(self, connection: Connection) -> None:
        """Send what has changed since the last time; a PING now and then, so that a dead connection is noticed."""
        ticked = True
        while True:
            commands: list[list[str | bytes]] = [["PING"]] if ticked else []
            if self._new:
                commands.append(["SUBSCRIBE", *self._new])
                self._subscribed |= self._new
                self._new.clear()
            if len(self._stale) >= STALE_CHANNELS or (ticked and self._stale):
                commands.append(["UNSUBSCRIBE", *self._stale])
                self._subscribed -= self._stale
                self._confirmed -= self._stale
                self._stale.clear()
            if commands:
                await connection.send_packed_command(connection.pack_commands(commands), check_health=False)
            ticked = await self._tick()

    async def _tick(self) -> bool:
        """Wait for something to send; tell whether nothing came for PING_SECONDS."""
        try:
            async with asyncio.timeout(PING_SECONDS):
                await self._wake.wait()
        except TimeoutError:
            return True
        self._wake.clear()
        return False

    async def _hear(self, connection: Connection) -> None:
        while True:
            message = await connection.read_response(timeout=SILENCE_SECONDS)
            if message is None:
                raise redis.TimeoutError(f"Redis has been silent for {SILENCE_SECONDS:g} s")
            kind, *rest = message
            if kind == b"subscribe":
                self._confirmed.add(rest[0])
                for watch in self._watches.get(rest[0], ()):
                    watch.confirm()
            elif kind == b"message" and rest[1] != b"processing":
                for watch in self._watches.get(rest[0], ()):
                    watch.hint()

    def _hint_all(self) -> None:
        for watches in self._watches.values():
            for watch in watches:
                watch.hint()

    def _channel(self, watch: Watch) -> bytes:
        return events_channel(self._prefix, watch.job_id).encode()
