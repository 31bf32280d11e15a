"""Which servers can hold a queue, and what a client's error means for the caller."""

from typing import Any

import pytest
import redis

from inferqueue_core.connection import (
    LEAVE_SECONDS,
    OtherServers,
    ServerState,
    check_server,
    connect,
    translate,
    untold,
)
from inferqueue_core.errors import (
    QueueError,
    QueueMemoryFullError,
    QueueRefusedError,
    QueueUnavailableError,
    QueueUnsuitableError,
)
from inferqueue_core.queue_settings import RedisSettings


@pytest.mark.parametrize(
    ("info", "policy", "prefix"),
    [
        ({"redis_version": "6.2.0"}, "noeviction", ""),
        ({"redis_version": "8.0.2"}, None, ""),
        ({"redis_version": "7.2.4", "valkey_version": "9.1.2"}, "noeviction", ""),
        ({"redis_version": "10.0.0", "cluster_enabled": 1}, "noeviction", "{iq}:"),
        ({"redis_version": "7.0.15", "cluster_enabled": 0}, "noeviction", "any:"),
    ],
)
def test_suitable_servers(info: dict[str, Any], policy: str | None, prefix: str) -> None:
    check_server(info, {} if policy is None else {"maxmemory-policy": policy}, prefix)


@pytest.mark.parametrize(
    ("info", "config", "persists"),
    [
        ({"aof_enabled": 1}, {}, True),
        ({"aof_enabled": 0}, {}, None),
        ({"aof_enabled": 0}, {"save": ""}, False),
        ({"aof_enabled": 0}, {"save": "3600 1"}, True),
    ],
)
def test_whether_a_server_keeps_what_it_holds(
    info: dict[str, Any], config: dict[str, str], persists: bool | None
) -> None:
    assert check_server(info | {"redis_version": "8.0.0"}, config, "").persists is persists


def test_only_what_info_does_not_tell_is_asked_for() -> None:
    assert untold({"maxmemory_policy": "noeviction", "aof_enabled": 1}) == []
    assert untold({"maxmemory_policy": "noeviction", "aof_enabled": 0}) == ["save"]
    assert untold({}) == ["maxmemory-policy", "save"]


def test_a_server_tells_its_memory_and_what_it_has_evicted() -> None:
    info = {"redis_version": "8.0.0", "used_memory": 5, "maxmemory": 7, "evicted_keys": 3}
    assert check_server(info, {}, "") == ServerState(5, 7, 3, None)


@pytest.mark.parametrize(
    ("info", "policy", "prefix", "message"),
    [
        ({"redis_version": "6.0.16"}, "noeviction", "", "Redis 6.0.16 is too old.*6.2 or newer"),
        ({}, "noeviction", "", "too old"),
        (
            {"redis_version": "7.0.0"},
            "allkeys-lru",
            "",
            "'allkeys-lru' and may evict.*CONFIG SET maxmemory-policy noeviction",
        ),
        ({"redis_version": "7.0.0"}, "volatile-ttl", "", "may evict"),
        ({"redis_version": "7.0.0", "cluster_enabled": 1}, "noeviction", "", "KEY_PREFIX is ''.*hash tag"),
        ({"redis_version": "7.0.0", "cluster_enabled": 1}, "noeviction", "{}x:", "KEY_PREFIX is '{}x:'"),
    ],
)
def test_unsuitable_servers(info: dict[str, Any], policy: str, prefix: str, message: str) -> None:
    with pytest.raises(QueueUnsuitableError, match=message):
        check_server(info, {"maxmemory-policy": policy}, prefix)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (redis.ConnectionError("refused"), QueueUnavailableError),
        (redis.TimeoutError("late"), QueueUnavailableError),
        (OSError("broken pipe"), QueueUnavailableError),
        (redis.BusyLoadingError("loading"), QueueUnavailableError),
        (redis.ReadOnlyError("You can't write against a read only replica."), QueueUnavailableError),
        (redis.exceptions.MasterDownError("down"), QueueUnavailableError),
        (redis.exceptions.ClusterDownError("down"), QueueUnavailableError),
        (redis.exceptions.TryAgainError("again"), QueueUnavailableError),
        (redis.ResponseError("BUSY Redis is busy running a script"), QueueUnavailableError),
        (redis.ResponseError("UNBLOCKED force unblock"), QueueUnavailableError),
        (redis.ResponseError("NOREPLICAS Not enough good replicas to write."), QueueUnavailableError),
        (redis.ResponseError("MISCONF Errors writing to the AOF file"), QueueUnavailableError),
        (redis.exceptions.OutOfMemoryError("command not allowed"), QueueMemoryFullError),
        (redis.ResponseError("Error running script: @user_script:1: -OOM command not allowed …"), QueueMemoryFullError),
        (redis.AuthenticationError("invalid username-password pair"), QueueUnsuitableError),
        (redis.exceptions.NoPermissionError("no permissions to run EVALSHA"), QueueUnsuitableError),
        (redis.exceptions.MovedError("1 127.0.0.1:7001"), QueueUnsuitableError),
        (redis.ResponseError("Protocol error: invalid bulk length"), QueueRefusedError),
        (redis.ResponseError("string exceeds maximum allowed size (proto-max-bulk-len)"), QueueRefusedError),
        (redis.ResponseError("max request size exceeded"), QueueRefusedError),
        (redis.ResponseError("Protocol error: unauthenticated bulk length"), QueueUnsuitableError),
    ],
)
def test_errors_are_told_apart(error: redis.RedisError | OSError, kind: type[QueueError]) -> None:
    assert type(translate(error)) is kind


@pytest.mark.parametrize("text", ["unknown command 'EVALSHA'", "WRONGTYPE Operation against a key", ""])
def test_a_defect_stays_what_it_is(text: str) -> None:
    assert translate(redis.ResponseError(text)) is None


def test_a_connection_is_made_as_the_settings_say() -> None:
    settings = RedisSettings.checked(redis_url="redis://r:1/3", redis_username="u", redis_password="p")
    options = connect(settings).connection_pool.connection_kwargs
    assert {name: options[name] for name in ("host", "port", "db", "username", "password")} == {
        "host": "r",
        "port": 1,
        "db": 3,
        "username": "u",
        "password": "p",
    }


def test_no_connection_reads_what_package_redis_py_came_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: pytest.fail(f"the metadata of {name} is read"))
    for url in ("redis://localhost", "rediss://localhost", "unix:///redis.sock"):
        pool = connect(RedisSettings(redis_url=url)).connection_pool
        pool.make_connection()
        assert pool.connection_kwargs["driver_info"].lib_version == redis.__version__


class Pool:
    """Stands for connections."""


@pytest.mark.parametrize(
    ("error", "is_due"),
    [
        (redis.ReadOnlyError("You can't write against a read only replica."), True),
        (redis.ResponseError("user_script:7: -READONLY You can't write against a read only replica."), True),
        (redis.exceptions.MasterDownError("Link with MASTER is down."), True),
        (redis.BusyLoadingError("Redis is loading the dataset in memory"), True),
        (redis.exceptions.MovedError("1 127.0.0.1:7000"), True),
        (redis.ResponseError("UNBLOCKED force unblock from blocking operation, instance state changed"), True),
        (redis.ConnectionError("Connection refused"), False),
        (redis.exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), False),
        (redis.ResponseError("NOREPLICAS Not enough good replicas to write."), False),
    ],
)
def test_connections_are_closed_where_another_server_is_to_be_asked(error: Exception, is_due: bool) -> None:
    assert OtherServers().is_due(error, Pool()) is is_due


def test_calls_that_fail_at_the_same_time_close_the_connections_once() -> None:
    now = 0.0
    servers, pool, other = OtherServers(lambda: now), Pool(), Pool()
    error = redis.ReadOnlyError("You can't write against a read only replica.")
    assert [servers.is_due(error, pool) for _ in range(3)] == [True, False, False]
    assert servers.is_due(error, other)
    now += LEAVE_SECONDS
    assert servers.is_due(error, pool)
