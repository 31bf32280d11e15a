"""How many workers `up` should run: the operator's law, on processes instead of pods."""

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from inferqueue_core.errors import QueueError
from inferqueue_core.jobs import QueueObservation
from inferqueue_core.queue import RedisJobQueue
from inferqueue_core.scaling import Decision, Fleet, Memory, Objective, Observation, decide
from inferqueue_core.scaling.looks import SAMPLES, look_at
from inferqueue_core.scaling.news import news_of

TICK_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Verdict:
    """The law's decision, and the look from which it was made: None when Redis did not answer."""

    decision: Decision
    seen: QueueObservation | None

    @property
    def idle(self) -> frozenset[str]:
        """The names of the workers that hold nothing by their own last word."""
        workers = () if self.seen is None else self.seen.workers
        return frozenset(worker.name for worker in workers if worker.report.in_flight == 0)


class Autoscaler:
    """Decides from what is in Redis; learned rates are kept in a file, so that the next start knows them."""

    def __init__(self, queue: RedisJobQueue, objective: Objective, file: Path) -> None:
        self.objective = objective
        self._queue = queue
        self._file = file
        self._memory = _read(file)

    def decide(self, fleet: Fleet) -> Verdict:
        """Look at the queue and decide; a Redis that does not answer is no empty queue."""
        seen: QueueObservation | None = None
        with suppress(QueueError):
            seen = self._queue.observe(SAMPLES)
        observation = Observation(time.time(), fleet, None if seen is None else look_at(seen))
        decision = decide(self.objective, observation, self._memory)
        self._memory = decision.memory
        return Verdict(decision, seen)

    def tell(self, verdict: Verdict, workers: int) -> None:
        """Show a decision, after which there are so many workers, to those who read the queue."""
        if verdict.seen is None:
            return
        news = news_of(verdict.decision, workers, verdict.seen)
        if news is not None:
            with suppress(QueueError):
                self._queue.publish_decision(news)

    def retire(self, workers: Sequence[str]) -> frozenset[str]:
        """Bar those of the workers that hold nothing from taking more, and name them; none when Redis is away."""
        try:
            return self._queue.retire(workers)
        except QueueError:
            return frozenset()

    def save(self) -> None:
        """Keep what was learned."""
        learned = Memory(service_rate=self._memory.service_rate, cold_starts=self._memory.cold_starts)
        self._file.write_text(json.dumps(learned.to_json()))


def _read(file: Path) -> Memory:
    try:
        return Memory.from_json(json.loads(file.read_text()))
    except (OSError, ValueError, KeyError, TypeError):
        return Memory()
