"""Service rates and cold starts by worker image, kept in Redis so that nobody need learn them again."""

import json
import math
from dataclasses import dataclass, replace

import redis.asyncio

from inferqueue_core.scaling import Memory
from inferqueue_core.scaling.estimates import cold_start

_MOST_IMAGES = 20
_CHANGE = 0.02
_SAVE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Rates:
    """What was learned of one image: jobs a second of one worker, and seconds from creation to work, newest last."""

    service_rate: float | None = None
    cold_starts: tuple[float, ...] = ()

    @classmethod
    def of(cls, memory: Memory) -> "Rates":
        return cls(memory.service_rate, memory.cold_starts)

    def put_into(self, memory: Memory) -> Memory:
        """Let the memory go on with these rates; what is unknown of this image is assumed as of the last one."""
        known = memory.cold_starts or memory.assumed_cold_start is not None
        return replace(
            memory,
            service_rate=memory.service_rate if self.service_rate is None else self.service_rate,
            service_jobs=None,
            cold_starts=self.cold_starts,
            assumed_cold_start=cold_start(memory) if known else None,
        )

    def differs_from(self, other: "Rates") -> bool:
        """Tell whether the difference is worth a write."""
        if self.cold_starts != other.cold_starts:
            return True
        if self.service_rate is None or other.service_rate is None:
            return self.service_rate is not other.service_rate
        return abs(self.service_rate - other.service_rate) > _CHANGE * other.service_rate


class LearnedRates:
    """The rates of one queue's images; `heard`: its workers are known to send heartbeats."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._image: str | None = None
        self._known = False
        self._saved = Rates()
        self._saved_at = 0.0
        self.heard = False

    def is_current(self, image: str) -> bool:
        """Tell whether the rates of this image have been recalled."""
        return self._image == image

    async def recall(self, client: redis.asyncio.Redis, image: str, memory: Memory) -> Memory:
        """Return the memory with what is known of this image; it is known once a worker of it has been ready."""
        found = await client.execute_command("HGET", self._key, image)
        self._image, self._known = image, found is not None
        self._saved = Rates() if found is None else _parse(found)
        # Only workers with heartbeats have a service rate: this image sends some.
        self.heard = self._saved.service_rate is not None
        return replace(self._saved.put_into(memory), ready_once=self._known)

    def is_due(self, memory: Memory, now: float) -> bool:
        """Tell whether there is something new to keep."""
        if not memory.ready_once or now - self._saved_at < _SAVE_SECONDS:
            return False
        return not self._known or Rates.of(memory).differs_from(self._saved)

    async def save(self, client: redis.asyncio.Redis, memory: Memory, now: float) -> None:
        """Keep what is known now, and forget the images that were learned longest ago."""
        assert self._image is not None
        rates = Rates.of(memory)
        entry = json.dumps({"service_rate": rates.service_rate, "cold_starts": rates.cold_starts, "at": round(now)})
        await client.execute_command("HSET", self._key, self._image, entry)
        self._known, self._saved, self._saved_at = True, rates, now
        if await client.execute_command("HLEN", self._key) > _MOST_IMAGES:
            entries: dict[bytes, bytes] = await client.execute_command("HGETALL", self._key)
            oldest = sorted(entries, key=lambda image: _learned_at(entries[image]))
            await client.execute_command("HDEL", self._key, *oldest[: len(entries) - _MOST_IMAGES])


def _parse(text: bytes) -> Rates:
    """Read an entry; what cannot be read is as good as not learned."""
    try:
        values = json.loads(text)
        rate = None if values["service_rate"] is None else float(values["service_rate"])
        starts = tuple(float(start) for start in values["cold_starts"])
    except (ValueError, KeyError, TypeError):
        return Rates()
    possible = (rate is None or 0 < rate < math.inf) and all(0 <= start < math.inf for start in starts)
    return Rates(rate, starts) if possible else Rates()


def _learned_at(text: bytes) -> float:
    try:
        return float(json.loads(text)["at"])
    except (ValueError, KeyError, TypeError):
        return 0.0
