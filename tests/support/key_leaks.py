"""The check that no job leaves a key behind for ever."""

import redis


def job_keys_without_ttl(client: redis.Redis) -> list[str]:
    """Name the keys of jobs and of idempotency that would stay in Redis for ever."""
    keys = (key for pattern in ("*job:*", "*idem:*") for key in client.scan_iter(match=pattern, count=1000))
    return sorted(key.decode(errors="replace") for key in keys if client.ttl(key) == -1)
