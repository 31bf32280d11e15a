"""The queue: the narrow interface that programs use, and the synchronous client on Redis."""

import logging
import random
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import redis

from inferqueue_core.connection import OtherServers, ServerState, check_server, translate, untold
from inferqueue_core.errors import QueueMemoryFullError, QueueUnavailableError
from inferqueue_core.jobs import (
    CancelOutcome,
    Claim,
    Claimant,
    ClaimedJob,
    DeadLetter,
    Ending,
    FinishOutcome,
    GiveBack,
    Heartbeat,
    Job,
    QueueDecision,
    QueueObservation,
    RanModel,
    Reaped,
    RedriveOutcome,
    Retry,
    RetryOutcome,
    SetAside,
    Submission,
    SubmitOutcome,
    WorkerReport,
)
from inferqueue_core.keys import QueueKeys, job_key, models_key
from inferqueue_core.models import ModelInfo, read_models
from inferqueue_core.policy import QueuePolicy
from inferqueue_core.protocol import Argument, Call, parse_dead_letter, parse_job
from inferqueue_core.protocol import Protocol as QueueProtocol
from inferqueue_core.refusals import Refusals

T = TypeVar("T")

logger = logging.getLogger(__name__)

_other_servers = OtherServers()

FOREVER = float("inf")
REAP_LIMIT = 500
REAP_PASSES = 200
_FULL_PAUSE_SECONDS = 0.1


class JobQueue(Protocol):
    """What a broker must offer to stand in Redis' place; semantics and promises are those of `RedisJobQueue`."""

    def submit(self, submissions: Sequence[Submission]) -> list[SubmitOutcome]: ...
    def claim(
        self, worker: str, limit: int, max_bytes: int, sharers: int = 1, claimant: Claimant | None = None
    ) -> Claim: ...
    def drain(self, worker: str, limit: int, max_bytes: int, claimant: Claimant, *, pinned_only: bool) -> Claim: ...
    def move(self, jobs: Sequence[SetAside], queue_name: str) -> int: ...
    def sibling(self, queue_name: str) -> "JobQueue": ...
    def wait(self, timeout: float) -> None: ...
    def extend(
        self, worker: str, report: WorkerReport | None, jobs: Sequence[ClaimedJob], *, idle: bool = False
    ) -> Heartbeat: ...
    def finish(self, endings: Sequence[Ending], ran: RanModel | None = None) -> list[FinishOutcome]: ...
    def retry(self, retries: Sequence[Retry | GiveBack]) -> list[RetryOutcome]: ...
    def cancel(self, job_id: str) -> CancelOutcome: ...
    def reap(self) -> Reaped: ...
    def retire(self, workers: Sequence[str]) -> frozenset[str]: ...
    def unretire(self, workers: Sequence[str]) -> None: ...
    def forget_worker(self, worker: str) -> None: ...
    def jobs(self, job_ids: Sequence[str]) -> list[Job | None]: ...
    def observe(self, samples: int = 0) -> QueueObservation: ...
    def dead_letters(self, limit: int = 100) -> list[DeadLetter]: ...
    def redrive(self, job_ids: Sequence[str]) -> list[RedriveOutcome]: ...
    def purge(self, limit: int) -> int: ...
    def publish_model(self, model: ModelInfo) -> None: ...
    def publish_decision(self, decision: QueueDecision) -> None: ...
    def models(self) -> dict[str, ModelInfo]: ...


def backoff_seconds(attempt: int) -> float:
    """Give the pause before the `attempt`-th reconnection (0 is at once): 50 ms · 2^n, at most 1 s, half drawn."""
    if attempt == 0:
        return 0.0
    ceiling = min(1.0, 0.05 * 2.0 ** min(attempt, 10))
    return ceiling / 2 + random.random() * ceiling / 2


class RedisJobQueue:
    """A queue on Redis; may be used by many threads at once.

    Each operation is one round trip. When Redis does not answer, it is sent again for up to `patience` seconds (0: once
    more, at once, in case only the connection was old) or until `stop` is set, and then raises QueueUnavailableError;
    every operation is safe to repeat. A full Redis raises QueueMemoryFullError at once.
    """

    def __init__(
        self,
        client: redis.Redis,
        queue_name: str,
        policy: QueuePolicy,
        *,
        prefix: str = "",
        patience: float = 0.0,
        stop: threading.Event | None = None,
    ) -> None:
        self.keys = QueueKeys(queue_name, prefix)
        self.policy = policy
        self._redis = client
        self._protocol = QueueProtocol(self.keys, policy)
        self._patience = patience
        self._stop = stop or threading.Event()

    def check(self) -> ServerState:
        """Return the state of Redis; raise QueueUnsuitableError when it cannot keep the queue's promises."""

        def look() -> tuple[dict[str, Any], dict[str, str]]:
            info: Any = self._redis.info()
            config: dict[str, str] = {}
            for name in untold(info):
                try:
                    settings: Any = self._redis.config_get(name)
                except redis.ResponseError:
                    continue
                config |= settings
            return info, config

        info, config = self._persist(look, look)
        return check_server(info, config, self.keys.prefix)

    def sibling(self, queue_name: str) -> "RedisJobQueue":
        """Give another queue, reached in the same way."""
        given = (self._redis, queue_name, self.policy)
        return RedisJobQueue(*given, prefix=self.keys.prefix, patience=self._patience, stop=self._stop)

    def submit(self, submissions: Sequence[Submission]) -> list[SubmitOutcome]:
        """Accept each submission wholly or not at all; gives one outcome for each.

        Raises QueueRefusedError when Redis answers, but does not take so large a call.
        """
        call = self._protocol.submit(submissions)
        return self._run(call, Refusals(call.size))

    def claim(
        self, worker: str, limit: int, max_bytes: int, sharers: int = 1, claimant: Claimant | None = None
    ) -> Claim:
        """Lease up to `limit` jobs, oldest first, of about `max_bytes` together, to `worker`.

        With `sharers` claimers only that fraction of what waits is taken, so that all of them find work. Jobs that are
        not the `claimant`'s are set aside; raises QueueOwnedError when the whole queue is another model's. Without a
        claimant whatever waits is taken.
        """
        nonce = secrets.token_hex(6)
        return self._run(self._protocol.claim(worker, nonce, limit, max_bytes, sharers, claimant))

    def drain(self, worker: str, limit: int, max_bytes: int, claimant: Claimant, *, pinned_only: bool) -> Claim:
        """Lease as `claim` does, but only what was made for the claimant's very version, wherever it waits.

        `pinned_only` leaves what other versions may run too.
        """
        nonce = secrets.token_hex(6)
        return self._run(self._protocol.drain(worker, nonce, limit, max_bytes, claimant, pinned_only=pinned_only))

    def move(self, jobs: Sequence[SetAside], queue_name: str) -> int:
        """Send jobs that were set aside to another queue; give how many were still there."""
        return self._run(self._protocol.move(jobs, QueueKeys(queue_name, self.keys.prefix)))

    def wait(self, timeout: float) -> None:
        """Return when a job waits in the queue, or after `timeout` seconds (at most 4); takes nothing."""
        # BLMOVE of a list onto its own end changes nothing and blocks while the list is empty.
        queue = self.keys.queue
        arguments = ("BLMOVE", queue, queue, "RIGHT", "RIGHT", max(0.01, min(timeout, 4.0)))  # 0 waits for ever
        try:
            self._persist(*(2 * (lambda: self._redis.execute_command(*arguments),)))
        except QueueMemoryFullError:
            self._stop.wait(min(timeout, _FULL_PAUSE_SECONDS))

    def extend(
        self, worker: str, report: WorkerReport | None, jobs: Sequence[ClaimedJob], *, idle: bool = False
    ) -> Heartbeat:
        """Report that `worker` lives and lengthen the leases of `jobs`.

        The queue becomes that of the model reported, unless workers of another one live. `idle` wakes whoever scales:
        the worker has nothing more to do.
        """
        return self._run(self._protocol.extend(worker, report, jobs, idle=idle))

    def finish(self, endings: Sequence[Ending], ran: RanModel | None = None) -> list[FinishOutcome]:
        """Store how claimed jobs ended, and which model `ran` them; a stale ending changes nothing.

        Raises QueueRefusedError when Redis answers, but does not take so large a call.
        """
        call = self._protocol.finish(endings, ran)
        return self._run(call, Refusals(call.size))

    def retry(self, retries: Sequence[Retry | GiveBack]) -> list[RetryOutcome]:
        """Give claimed jobs back to run again; a job out of attempts becomes a dead letter."""
        return self._run(self._protocol.retry(retries))

    def cancel(self, job_id: str) -> CancelOutcome:
        """End a waiting job, or ask the worker of a running one to stop."""
        return self._run(self._protocol.cancel(job_id))

    def reap(self) -> Reaped:
        """Put back jobs of silent workers, promote due retries, expire what waits too long, forget silent workers.

        One pass looks at REAP_LIMIT jobs of a kind, so that Redis answers others meanwhile; passes follow one another
        until nothing is left to do.
        """
        reaped = Reaped()
        for _ in range(REAP_PASSES):
            reaped += self._run(self._protocol.reap(REAP_LIMIT))
            if not reaped.more:
                break
        return reaped

    def retire(self, workers: Sequence[str]) -> frozenset[str]:
        """Bar those of `workers` that hold nothing from claiming, and name them."""
        return self._run(self._protocol.retire(workers))

    def unretire(self, workers: Sequence[str]) -> None:
        """Let retired workers claim again."""
        if workers:
            self._command("SREM", self.keys.retired, *workers)

    def forget_worker(self, worker: str) -> None:
        """Take a worker that has stopped off the list of workers."""
        k = self.keys
        self._command("ZREM", k.workers, worker)
        self._command("HDEL", k.worker_reports, worker)
        self._command("SREM", k.retired, worker)

    def jobs(self, job_ids: Sequence[str]) -> list[Job | None]:
        """Read jobs; None stands for each that is unknown."""
        parts = [self._protocol.job_parts(job_id) for job_id in job_ids]
        values: Any = self._command("MGET", *(key for keys in parts for key in keys)) if parts else []
        return [parse_job(job_id, values[4 * n : 4 * n + 4]) for n, job_id in enumerate(job_ids)]

    def observe(self, samples: int = 0) -> QueueObservation:
        """Look at the whole queue at one moment, with the ids at `samples` positions of the list."""
        return self._run(self._protocol.observe(samples))

    def dead_letters(self, limit: int = 100) -> list[DeadLetter]:
        """List dead letters, newest first."""
        entries: Any = self._command("LRANGE", self.keys.dead, 0, limit - 1)
        ids = [entry.decode(errors="replace") for entry in entries]
        keys = [job_key(self.keys.prefix, job_id, part) for job_id in ids for part in ("owner", "error")]
        values: Any = self._command("MGET", *keys) if keys else []
        return [parse_dead_letter(job_id, *values[2 * n : 2 * n + 2]) for n, job_id in enumerate(ids)]

    def redrive(self, job_ids: Sequence[str]) -> list[RedriveOutcome]:
        """Put dead letters back into the queue, with all their attempts before them."""
        return self._run(self._protocol.redrive(job_ids)) if job_ids else []

    def publish_model(self, model: ModelInfo) -> None:
        """Make a model known to every program."""
        self._command("HSET", models_key(self.keys.prefix), model.key, model.to_json())

    def purge(self, limit: int) -> int:
        """Drop up to `limit` dead letters, the oldest first, with their data; return how many."""
        return self._run(self._protocol.purge(limit))

    def publish_decision(self, decision: QueueDecision) -> None:
        """Show a scaling decision to every program, for 90 s."""
        self._command(*self._protocol.decision_written(decision))

    def models(self) -> dict[str, ModelInfo]:
        """Give the known models by `name/version`."""
        entries: Any = self._command("HGETALL", models_key(self.keys.prefix))
        return read_models(entries)

    def _command(self, *arguments: Argument) -> Any:
        def send() -> Any:
            return self._redis.execute_command(*arguments)

        return self._persist(send, send)

    def _run(self, call: Call[T], refusals: Refusals | None = None) -> T:
        return call.parse(self._persist(lambda: self._send(call), lambda: self._send(call.resent()), refusals))

    def _answers(self) -> bool:
        try:
            return bool(self._redis.ping())
        except (redis.RedisError, OSError):
            return False

    def _send(self, call: Call[Any]) -> Any:
        rest = (len(call.keys), *call.keys, *call.args)
        try:
            return self._redis.execute_command("EVALSHA", call.script.sha, *rest)
        except redis.exceptions.NoScriptError:
            return self._redis.execute_command("EVAL", call.script.text, *rest)

    def _leave(self, error: Exception) -> None:
        own = self._redis.connection  # of a client that takes none from the pool
        if _other_servers.is_due(error, own or self._redis.connection_pool):
            if own is not None:
                own.disconnect()
            else:
                # Those in use are other threads', which will hear the same.
                self._redis.connection_pool.disconnect(inuse_connections=False)

    def _persist(self, first: Callable[[], T], again: Callable[[], T], refusals: Refusals | None = None) -> T:
        deadline = time.monotonic() + self._patience
        attempt, send = 0, first
        while True:
            try:
                answer = send()
            except (redis.RedisError, OSError) as error:
                ours = translate(error)
                if ours is None:
                    raise
                self._leave(error)
                if not isinstance(ours, QueueUnavailableError) or isinstance(ours, QueueMemoryFullError):
                    raise ours from error
                answers = False
                if refusals is not None and refusals.may_hold(error):
                    answers = self._answers()
                    refusals.count(error, answers=answers)
                is_late = attempt > 0 and not answers and time.monotonic() >= deadline
                if is_late or self._stop.wait(backoff_seconds(attempt)):
                    raise ours from error
                if attempt == 1:
                    logger.warning("Redis is away, trying again", extra={"reason": str(ours)})
                attempt, send = attempt + 1, again
            else:
                if attempt > 1:
                    logger.info("Redis answers again", extra={"attempts": attempt})
                return answer
