"""The queue's client for asyncio programs: the same calls as `RedisJobQueue`."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import redis
import redis.asyncio

from inferqueue_core.connection import OtherServers, ServerState, check_server, translate, untold
from inferqueue_core.errors import QueueMemoryFullError, QueueUnavailableError
from inferqueue_core.jobs import (
    CancelOutcome,
    DeadLetter,
    Job,
    JobTarget,
    QueueDecision,
    QueueObservation,
    Reaped,
    RedriveOutcome,
    Submission,
    SubmitOutcome,
)
from inferqueue_core.keys import QueueKeys, job_key, models_key
from inferqueue_core.models import ModelInfo, read_models
from inferqueue_core.policy import QueuePolicy
from inferqueue_core.protocol import Argument, Call, parse_dead_letter, parse_job, read_target
from inferqueue_core.protocol import Protocol as QueueProtocol
from inferqueue_core.queue import REAP_LIMIT, REAP_PASSES, backoff_seconds
from inferqueue_core.refusals import Refusals

T = TypeVar("T")

_other_servers = OtherServers()


class AsyncRedisJobQueue:
    """A queue on Redis for one event loop: what proxies and operators do. Workers are synchronous (`RedisJobQueue`).

    Repeats and errors are those of `RedisJobQueue`.
    """

    def __init__(
        self,
        client: redis.asyncio.Redis,
        queue_name: str,
        policy: QueuePolicy,
        *,
        prefix: str = "",
        patience: float = 0.0,
    ) -> None:
        self.keys = QueueKeys(queue_name, prefix)
        self.policy = policy
        self._redis = client
        self._protocol = QueueProtocol(self.keys, policy)
        self._patience = patience

    async def check(self) -> ServerState:
        """Return the state of Redis; raise QueueUnsuitableError when it cannot keep the queue's promises."""

        async def look() -> tuple[dict[str, Any], dict[str, str]]:
            info: Any = await self._redis.info()
            config: dict[str, str] = {}
            for name in untold(info):
                try:
                    settings: Any = await self._redis.config_get(name)
                except redis.ResponseError:
                    continue
                config |= settings
            return info, config

        info, config = await self._persist(look, look)
        return check_server(info, config, self.keys.prefix)

    async def ping(self) -> None:
        """Return when Redis takes writes of the queue, as every request needs; raise QueueError when it does not."""
        # It changes nothing and needs no memory, so that a full Redis takes it.
        await self._command("HDEL", self.keys.stats, "")

    async def submit(self, submissions: Sequence[Submission]) -> list[SubmitOutcome]:
        """Accept each submission wholly or not at all; gives one outcome for each.

        Raises QueueRefusedError when Redis answers, but does not take so large a call.
        """
        call = self._protocol.submit(submissions)
        return await self._run(call, Refusals(call.size))

    async def cancel(self, job_id: str) -> CancelOutcome:
        """End a waiting job, or ask the worker of a running one to stop."""
        return await self._run(self._protocol.cancel(job_id))

    async def reap(self) -> Reaped:
        """Put back jobs of silent workers, promote due retries, expire what waits too long, forget silent workers.

        One pass looks at REAP_LIMIT jobs of a kind, so that Redis answers others meanwhile; passes follow one another
        until nothing is left to do.
        """
        reaped = Reaped()
        for _ in range(REAP_PASSES):
            reaped += await self._run(self._protocol.reap(REAP_LIMIT))
            if not reaped.more:
                break
        return reaped

    async def retire(self, workers: Sequence[str]) -> frozenset[str]:
        """Bar those of `workers` that hold nothing from claiming, and name them."""
        return await self._run(self._protocol.retire(workers))

    async def unretire(self, workers: Sequence[str]) -> None:
        """Let retired workers claim again."""
        if workers:
            await self._command("SREM", self.keys.retired, *workers)

    async def jobs(self, job_ids: Sequence[str]) -> list[Job | None]:
        """Read jobs; None stands for each that is unknown."""
        parts = [self._protocol.job_parts(job_id) for job_id in job_ids]
        values: Any = await self._command("MGET", *(key for keys in parts for key in keys)) if parts else []
        return [parse_job(job_id, values[4 * n : 4 * n + 4]) for n, job_id in enumerate(job_ids)]

    async def target(self, job_id: str) -> JobTarget:
        """Read what a job that has not ended is for; nothing is known of any other, nor of a stranger's."""
        (owner,) = await self._command("MGET", job_key(self.keys.prefix, job_id, "owner"))
        return read_target(owner)

    async def observe(self, samples: int = 0) -> QueueObservation:
        """Look at the whole queue at one moment, with the ids at `samples` positions of the list."""
        return await self._run(self._protocol.observe(samples))

    async def dead_letters(self, limit: int = 100) -> list[DeadLetter]:
        """List dead letters, newest first."""
        entries: Any = await self._command("LRANGE", self.keys.dead, 0, limit - 1)
        ids = [entry.decode(errors="replace") for entry in entries]
        keys = [job_key(self.keys.prefix, job_id, part) for job_id in ids for part in ("owner", "error")]
        values: Any = await self._command("MGET", *keys) if keys else []
        return [parse_dead_letter(job_id, *values[2 * n : 2 * n + 2]) for n, job_id in enumerate(ids)]

    async def redrive(self, job_ids: Sequence[str]) -> list[RedriveOutcome]:
        """Put dead letters back into the queue, with all their attempts before them."""
        return await self._run(self._protocol.redrive(job_ids)) if job_ids else []

    async def purge(self, limit: int) -> int:
        """Drop up to `limit` dead letters, the oldest first, with their data; return how many."""
        return await self._run(self._protocol.purge(limit))

    async def publish_decision(self, decision: QueueDecision) -> None:
        """Show a scaling decision to every program, for 90 s."""
        await self._command(*self._protocol.decision_written(decision))

    async def models(self) -> dict[str, ModelInfo]:
        """Give the known models by `name/version`."""
        entries: Any = await self._command("HGETALL", models_key(self.keys.prefix))
        return read_models(entries)

    async def _command(self, *arguments: Argument) -> Any:
        async def send() -> Any:
            return await self._redis.execute_command(*arguments)

        return await self._persist(send, send)

    async def _run(self, call: Call[T], refusals: Refusals | None = None) -> T:
        return call.parse(await self._persist(lambda: self._send(call), lambda: self._send(call.resent()), refusals))

    async def _answers(self) -> bool:
        try:
            return bool(await self._redis.ping())
        except (redis.RedisError, OSError):
            return False

    async def _send(self, call: Call[Any]) -> Any:
        rest = (len(call.keys), *call.keys, *call.args)
        try:
            return await self._redis.execute_command("EVALSHA", call.script.sha, *rest)
        except redis.exceptions.NoScriptError:
            return await self._redis.execute_command("EVAL", call.script.text, *rest)

    async def _persist(
        self,
        first: Callable[[], Awaitable[T]],
        again: Callable[[], Awaitable[T]],
        refusals: Refusals | None = None,
    ) -> T:
        deadline = time.monotonic() + self._patience
        attempt, send = 0, first
        while True:
            try:
                return await send()
            except (redis.RedisError, OSError) as error:
                ours = translate(error)
                if ours is None:
                    raise
                if _other_servers.is_due(error, self._redis.connection_pool):
                    await self._redis.connection_pool.disconnect()
                if not isinstance(ours, QueueUnavailableError) or isinstance(ours, QueueMemoryFullError):
                    raise ours from error
                answers = False
                if refusals is not None and refusals.may_hold(error):
                    answers = await self._answers()
                    refusals.count(error, answers=answers)
                if attempt > 0 and not answers and time.monotonic() >= deadline:
                    raise ours from error
                await asyncio.sleep(backoff_seconds(attempt))
                attempt, send = attempt + 1, again
