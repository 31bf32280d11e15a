"""The settings that programs share: where Redis is, which queue, and what that queue promises."""

import ssl
from pathlib import Path
from typing import Annotated
from urllib.parse import parse_qsl, quote, urlsplit

import redis
from msgspec import Meta

from inferqueue_core.keys import check_queue_name
from inferqueue_core.policy import DAY_SECONDS, QueuePolicy
from inferqueue_core.settings import Secret, Settings

QueueName = Annotated[str, check_queue_name]


def _check_address(url: str) -> None:
    """Raise ValueError, in words that hold no secret, when the client could not use this address of a server."""
    parts = urlsplit(url)
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise ValueError(f"scheme {parts.scheme!r} is unknown; use redis://, rediss:// or unix://")
    try:
        _ = parts.port
    except ValueError:
        raise ValueError("the port is not a number from 0 to 65535") from None
    if parts.scheme == "unix" and not parts.path:
        raise ValueError("the path of the socket is missing: unix:///path/to/redis.sock")
    if parts.scheme != "unix" and parts.path.strip("/") and not parts.path.strip("/").isdecimal():
        raise ValueError("the database is no number; it stands at the end, as in redis://host:6379/0")
    for option, _ in parse_qsl(parts.query):
        if option in ("protocol", "decode_responses", "encoding", "encoding_errors"):
            raise ValueError(f"option {option!r} changes how answers are read; leave it out")
    try:
        pool = redis.ConnectionPool.from_url(url, driver_info=None)
        pool.connection_class(**pool.connection_kwargs)  # it does not connect yet, but it looks at the options
    except TypeError as error:
        raise ValueError(f"there is no option {str(error).rpartition(' ')[2]}; leave it out") from None
    except redis.RedisError as error:
        raise ValueError(str(error)) from None


def _text_of(name: str, path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError as error:
        raise ValueError(f"{name.upper()}_FILE: cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise ValueError(f"{name.upper()}_FILE: {path} holds no text in UTF-8") from None


def _sentinel_address(address: str) -> tuple[str, int]:
    host, _, port = address.strip().rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) <= 65535:
        raise ValueError(f"REDIS_SENTINELS: {address!r} is not host:port")
    return host.removeprefix("[").removesuffix("]"), int(port)


class RedisSettings(Settings, frozen=True, kw_only=True):
    """Where Redis is."""

    redis_url: Annotated[
        str | None, Meta(description="redis://, rediss:// (TLS) or unix:// address; wins over REDIS_HOST")
    ] = None
    redis_host: Annotated[str, Meta(description="host of Redis")] = "127.0.0.1"
    redis_port: Annotated[int, Meta(ge=1, le=65535, description="port of Redis")] = 6379
    redis_username: Annotated[str | None, Meta(description="ACL user")] = None
    redis_password: Annotated[Secret | None, Meta(description="password of the ACL user, or of the default user")] = (
        None
    )
    redis_username_file: Annotated[Path | None, Meta(description="file that holds the ACL user")] = None
    redis_password_file: Annotated[Path | None, Meta(description="file that holds the password")] = None
    redis_tls_ca_file: Annotated[Path | None, Meta(description="CA certificates (PEM) for rediss:// and Sentinel")] = (
        None
    )
    redis_sentinels: Annotated[str, Meta(description="Sentinels as host:port,host:port; they name the server")] = ""
    redis_sentinel_master: Annotated[str, Meta(description="name of the master that the Sentinels watch")] = "mymaster"
    redis_sentinel_password: Annotated[Secret | None, Meta(description="password of the Sentinels themselves")] = None
    key_prefix: Annotated[
        str, Meta(description="put before every key; a hash tag such as {inferqueue}: on Redis Cluster")
    ] = ""

    @classmethod
    def _resolved(cls, given: dict[str, object]) -> dict[str, object]:
        port = given.get("redis_port")
        if isinstance(port, str) and port.startswith("tcp://"):
            # Kubernetes sets REDIS_PORT=tcp://10.0.0.1:6379 in every pod beside a Service named `redis`.
            given = given | {"redis_port": port.rpartition(":")[2]}
        for name in ("redis_username", "redis_password"):
            path = given.get(f"{name}_file")
            if path is not None and given.get(name) is None:
                given = given | {name: _text_of(name, Path(str(path)))}
        return super()._resolved(given)

    def _check(self) -> None:
        try:
            _check_address(self.url)
        except ValueError as error:
            raise ValueError(f"REDIS_URL: {error}") from None
        if self.redis_sentinels:
            _ = self.sentinel_addresses
        file = self.redis_tls_ca_file
        if file is None:
            return
        if not self.url.startswith("rediss:") and not self.redis_sentinels:
            raise ValueError("REDIS_TLS_CA_FILE is set, but REDIS_URL does not begin with rediss://")
        try:
            ssl.create_default_context(cafile=file)
        except OSError as error:
            raise ValueError(f"REDIS_TLS_CA_FILE: cannot read CA certificates (PEM) from {file}: {error}") from None

    @property
    def url(self) -> str:
        return self.redis_url or f"redis://{quote(self.redis_host)}:{self.redis_port}/0"

    @property
    def sentinel_addresses(self) -> list[tuple[str, int]]:
        return [_sentinel_address(address) for address in self.redis_sentinels.split(",")]

    @property
    def safe_url(self) -> str:
        """The address without its password, for logs."""
        if self.redis_sentinels:
            return f"master {self.redis_sentinel_master!r} of the Sentinels {self.redis_sentinels}"
        parts = urlsplit(self.url)
        if parts.scheme == "unix":
            return f"unix://{parts.path}"
        return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()


class QueueSettings(RedisSettings, frozen=True, kw_only=True):
    """Which queue, and what it promises."""

    queue_name: Annotated[QueueName, Meta(description="the Redis list in which jobs wait")] = "predict_queue"
    job_ttl: Annotated[
        float, Meta(gt=0, le=2_592_000, description="seconds that a job and its result are known after its end")
    ] = 3600
    queue_ttl: Annotated[
        float, Meta(ge=1, le=2_592_000, description="seconds that a job without a deadline waits at most")
    ] = DAY_SECONDS
    idempotency_ttl: Annotated[
        float,
        Meta(ge=0, le=2_592_000, description="seconds that an Idempotency-Key outlives its job's end, JOB_TTL at most"),
    ] = DAY_SECONDS
    prediction_timeout: Annotated[
        float, Meta(gt=0, le=86_400, description="seconds that one run of the model may take")
    ] = 60
    lease_seconds: Annotated[
        float, Meta(ge=0.1, le=3600, description="silence after which a worker's jobs run elsewhere")
    ] = 30
    max_attempts: Annotated[
        int, Meta(ge=1, le=100, description="how often a job is tried when its worker is killed")
    ] = 3
    dead_max_bytes: Annotated[
        int, Meta(ge=0, description="bytes of dead letters' data that are kept; beyond them the oldest are dropped")
    ] = 67_108_864
    dead_ttl: Annotated[float, Meta(ge=1, le=31_536_000, description="seconds that a dead letter can be redriven")] = (
        604_800
    )

    def policy(self, max_length: int = 0) -> QueuePolicy:
        """Return the queue's policy; `max_length` 0 means no limit."""
        return QueuePolicy(
            job_ttl=self.job_ttl,
            queue_ttl=self.queue_ttl,
            idempotency_ttl=self.idempotency_ttl,
            max_dead_bytes=self.dead_max_bytes,
            lease=self.lease_seconds,
            max_attempts=self.max_attempts,
            max_length=max_length,
            dead_ttl=self.dead_ttl,
        )
