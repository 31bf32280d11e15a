"""Connections to Redis: how they are made from settings, and whether that Redis can hold a queue."""

import re
import time
from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import redis
import redis.asyncio
from msgspec import Struct
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry as SyncRetry

from inferqueue_core.errors import (
    QueueError,
    QueueMemoryFullError,
    QueueRefusedError,
    QueueUnavailableError,
    QueueUnsuitableError,
)
from inferqueue_core.queue_settings import RedisSettings

OLDEST_REDIS = (6, 2)
_TIMEOUT_SECONDS = 5.0
# redis-py gives the commonest errors a class and takes the code off their text; the rest keep it.
_PASSING_KINDS = (
    *(redis.ConnectionError, redis.TimeoutError, OSError),
    *(redis.exceptions.ReadOnlyError, redis.exceptions.MasterDownError),
    *(redis.exceptions.TryAgainError, redis.exceptions.ClusterDownError),
)
_ELSEWHERE_KINDS = (
    *(redis.exceptions.ReadOnlyError, redis.exceptions.MasterDownError),
    *(redis.exceptions.MovedError, redis.BusyLoadingError),
)
LEAVE_SECONDS = 1.0
# What servers say of a call or a value that is too large for them.
_TOO_LARGE = ("Protocol error", "exceeds maximum allowed size", "size exceeded")
_PASSING_CODES = ("UNBLOCKED", "BUSY ", "NOREPLICAS", "MISCONF")


def _options(settings: RedisSettings) -> dict[str, Any]:
    options: dict[str, Any] = {
        "socket_timeout": _TIMEOUT_SECONDS,
        "socket_connect_timeout": _TIMEOUT_SECONDS,
        "health_check_interval": 15,
        "protocol": 2,
        # What redis-py would read from its own package's metadata, anew for each connection.
        "driver_info": redis.DriverInfo(lib_version=redis.__version__),
    }
    if not settings.url.startswith("unix:"):
        options["socket_keepalive"] = True
    if settings.redis_username is not None:
        options["username"] = settings.redis_username
    if settings.redis_password is not None:
        options["password"] = settings.redis_password.get_secret_value()
    if settings.redis_tls_ca_file is not None:
        options["ssl_ca_certs"] = str(settings.redis_tls_ca_file)
    return options


def _sentinel_options(settings: RedisSettings) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give the options for the servers and those for the Sentinels themselves; a CA file turns TLS on for both."""
    servers = _options(settings)
    if settings.redis_tls_ca_file is not None:
        servers["ssl"] = True
    password = settings.redis_sentinel_password
    sentinels = servers | {"username": None, "password": None if password is None else password.get_secret_value()}
    return servers, sentinels


def connect(settings: RedisSettings) -> redis.Redis:
    """Make a synchronous client; it connects at its first command. Retries are the queue's, not the connection's."""
    retry = SyncRetry(NoBackoff(), 0)
    if settings.redis_sentinels:
        from redis.sentinel import Sentinel

        servers, sentinels = _sentinel_options(settings)
        sentinel = Sentinel(settings.sentinel_addresses, sentinel_kwargs=sentinels, retry=retry, **servers)
        master: redis.Redis = sentinel.master_for(settings.redis_sentinel_master)
        return master
    return redis.Redis.from_url(settings.url, retry=retry, **_options(settings))


def connect_async(settings: RedisSettings) -> redis.asyncio.Redis:
    """Make an asynchronous client; it connects at its first command."""
    retry = AsyncRetry(NoBackoff(), 0)
    if settings.redis_sentinels:
        from redis.asyncio.sentinel import Sentinel

        servers, sentinels = _sentinel_options(settings)
        sentinel = Sentinel(settings.sentinel_addresses, sentinel_kwargs=sentinels, retry=retry, **servers)
        master: redis.asyncio.Redis = sentinel.master_for(settings.redis_sentinel_master)
        return master
    return redis.asyncio.Redis.from_url(settings.url, retry=retry, **_options(settings))


class OtherServers:
    """Knows when only a new connection helps, and which pools of connections were closed for that lately."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left_at: WeakKeyDictionary[object, float] = WeakKeyDictionary()

    def is_due(self, error: Exception, pool: object) -> bool:
        """Tell whether all connections of a pool are to be closed after an error.

        After a failover the old primary keeps its clients, and goes on refusing their writes, while the address that
        they came by leads to the new one. Calls that were under way at the same time fail alike, so a pool is closed
        once in LEAVE_SECONDS at most: what it has opened since then leads to where the address leads now.
        """
        if not _is_elsewhere(error):
            return False
        now = self._clock()
        if now - self._left_at.get(pool, -LEAVE_SECONDS) < LEAVE_SECONDS:
            return False
        self._left_at[pool] = now
        return True


def _is_elsewhere(error: Exception) -> bool:
    """Tell whether a server says that another one is to be asked."""
    text = str(error)
    return isinstance(error, _ELSEWHERE_KINDS) or text.startswith("UNBLOCKED") or "-READONLY " in text


class ServerState(Struct, frozen=True):
    """What a server tells of itself: bytes used and allowed (0: no limit), and keys evicted since it started.

    `persists` is whether a restart keeps what it holds; None where it does not tell, as on some managed services.
    """

    used_memory: int
    maxmemory: int
    evicted_keys: int
    persists: bool | None


def untold(info: Mapping[str, Any]) -> list[str]:
    """Name the settings that matter here and that this INFO does not tell."""
    names = [] if "maxmemory_policy" in info else ["maxmemory-policy"]
    return names if int(info.get("aof_enabled", 0)) else [*names, "save"]


def check_server(info: Mapping[str, Any], config: Mapping[str, str], prefix: str) -> ServerState:
    """Return the state of a server with this INFO; raise QueueUnsuitableError when it cannot keep the queue's promises.

    `config` is what CONFIG GET tells of `untold` settings; empty where that is forbidden, as on some managed services.
    """
    maxmemory_policy = info.get("maxmemory_policy", config.get("maxmemory-policy"))
    version = str(info.get("valkey_version") or info.get("redis_version", "0"))
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if numbers < OLDEST_REDIS:
        raise QueueUnsuitableError(
            f"Redis {version} is too old: BLMOVE and RPOP with a count came with 6.2; use Redis 6.2 or newer, or Valkey"
        )
    if int(info.get("cluster_enabled", 0)) and not re.search(r"\{[^{}]+\}", prefix):
        raise QueueUnsuitableError(
            f"this Redis is a Cluster and KEY_PREFIX is {prefix!r}: the keys of one queue must share a slot; "
            "set KEY_PREFIX to a hash tag such as '{inferqueue}:', or use a Redis that is no Cluster"
        )
    if maxmemory_policy not in (None, "noeviction"):
        raise QueueUnsuitableError(
            f"Redis has maxmemory-policy {maxmemory_policy!r} and may evict jobs that were accepted; "
            "run `CONFIG SET maxmemory-policy noeviction`"
        )
    persists: bool | None = True
    if not int(info.get("aof_enabled", 0)):
        persists = config["save"] != "" if "save" in config else None
    return ServerState(
        int(info.get("used_memory", 0)), int(info.get("maxmemory", 0)), int(info.get("evicted_keys", 0)), persists
    )


def translate(error: redis.RedisError | OSError) -> QueueError | None:
    """Turn a client's exception into ours; None when it is a defect that no retry mends."""
    if type(error) is redis.ConnectionError and isinstance(error.__cause__, redis.RedisError):
        error = error.__cause__  # the asynchronous client wraps what goes wrong while it connects
    text = str(error)
    # Before the login Redis takes short commands alone, and answers a script with a protocol error instead of NOAUTH.
    refused = isinstance(error, (redis.AuthenticationError, redis.exceptions.NoPermissionError))
    if refused or "unauthenticated" in text:
        return QueueUnsuitableError(
            f"Redis refused the login or a command: {text}; check REDIS_USERNAME, REDIS_PASSWORD and the ACL"
        )
    if isinstance(error, redis.exceptions.OutOfMemoryError) or "OOM command not allowed" in text:
        return QueueMemoryFullError(
            "Redis has reached its maxmemory; retry when results have expired, or raise maxmemory"
        )
    if isinstance(error, redis.exceptions.MovedError):
        return QueueUnsuitableError(
            f"Redis Cluster keeps these keys on another node ({text}); set REDIS_URL to that node"
        )
    if isinstance(error, redis.ResponseError) and any(sign in text for sign in _TOO_LARGE):
        return QueueRefusedError(f"Redis refuses a call: {text}")
    if isinstance(error, _PASSING_KINDS) or text.startswith(_PASSING_CODES) or "-READONLY " in text:
        return QueueUnavailableError(f"Redis does not answer, or takes no writes now: {text}")
    return None
