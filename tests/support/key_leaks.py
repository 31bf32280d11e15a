"""What would stay in Redis without end: every test on a shared Redis ends with a look for it."""

from collections.abc import Iterator
from typing import Any

import redis


def leaked_keys(client: redis.Redis) -> list[str]:
    """Name the keys without a time to live of jobs, and of Idempotency-Keys, that nothing is owed for any more."""
    owed = set(_owed(client))
    leaks = []
    for pattern in ("*job:*", "*idem:*"):
        for key in client.scan_iter(match=pattern, count=1000):
            if client.ttl(key) != -1:
                continue
            value: Any = None if b"job:" in key else client.get(key)
            bound = [key] if value is None else value.partition(b" ")[2].split(b",")
            if not any(_id_of(one) in owed for one in bound):
                leaks.append(key.decode(errors="replace"))
    return sorted(leaks)


def _owed(client: redis.Redis) -> Iterator[bytes]:
    for key in client.scan_iter(count=1000):
        kind = client.type(key)
        ids: Any = []
        if kind == b"list" and not key.endswith(b":dead"):
            ids = client.lrange(key, 0, -1)
        elif kind == b"zset" and key.endswith((b":leases", b":delayed")):
            ids = client.zrange(key, 0, -1)
        yield from ids


def _id_of(key: bytes) -> bytes:
    return key.partition(b"job:")[2].rpartition(b":")[0] if b"job:" in key else key
