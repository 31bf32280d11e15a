"""Settings from the environment and from flags; flags win."""

import argparse
import os
import ssl
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar
from urllib.parse import parse_qsl, quote, urlsplit

import redis
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)

from inferqueue_core.keys import check_queue_name
from inferqueue_core.policy import QueuePolicy

QueueName = Annotated[str, AfterValidator(check_queue_name)]
S = TypeVar("S", bound="Settings")


def _service_port(value: object) -> object:
    # Kubernetes sets REDIS_PORT=tcp://10.0.0.1:6379 in every pod beside a Service named `redis`.
    if isinstance(value, str) and value.startswith("tcp://"):
        return urlsplit(value).port
    return value


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


def _sentinel_address(address: str) -> tuple[str, int]:
    host, _, port = address.strip().rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) <= 65535:
        raise ValueError(f"REDIS_SENTINELS: {address!r} is not host:port")
    return host.removeprefix("[").removesuffix("]"), int(port)


class Settings(BaseModel):
    """Fields are named as their environment variables in lower case; `from_environment` reads them."""

    # Built when first used: a program uses one of the classes, not those that it grew from.
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), defer_build=True)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ, **given: object) -> Self:
        """Take what is given, then what the environment says; raises ValidationError.

        An empty variable is an unset one: that is how manifests leave out what nobody has chosen.
        """
        found = {name: value for name in cls.model_fields if (value := environment.get(name.upper()))}
        return cls.model_validate(found | given)


class RedisSettings(Settings):
    """Where Redis is."""

    redis_url: str | None = Field(
        None, description="redis://, rediss:// (TLS) or unix:// address; wins over REDIS_HOST"
    )
    redis_host: str = Field("127.0.0.1", description="host of Redis")
    redis_port: Annotated[int, BeforeValidator(_service_port)] = Field(
        6379, ge=1, le=65535, description="port of Redis"
    )
    redis_username: str | None = Field(None, description="ACL user")
    redis_password: SecretStr | None = Field(None, description="password of the ACL user, or of the default user")
    redis_username_file: Path | None = Field(None, description="file that holds the ACL user")
    redis_password_file: Path | None = Field(None, description="file that holds the password")
    redis_tls_ca_file: Path | None = Field(None, description="CA certificates (PEM) for rediss:// and Sentinel")
    redis_sentinels: str = Field("", description="Sentinels as host:port,host:port; they name the server")
    redis_sentinel_master: str = Field("mymaster", description="name of the master that the Sentinels watch")
    redis_sentinel_password: SecretStr | None = Field(None, description="password of the Sentinels themselves")
    key_prefix: str = Field("", description="put before every key; a hash tag such as {inferqueue}: on Redis Cluster")

    @model_validator(mode="before")
    @classmethod
    def _read_files(cls, values: Any) -> Any:
        for name in ("redis_username", "redis_password"):
            path = values.get(f"{name}_file")
            if path is not None and values.get(name) is None:
                try:
                    values = {**values, name: Path(path).read_text().strip()}
                except OSError as error:
                    raise ValueError(f"{name.upper()}_FILE: cannot read {path}: {error.strerror}") from error
                except UnicodeDecodeError:
                    raise ValueError(f"{name.upper()}_FILE: {path} holds no text in UTF-8") from None
        return values

    @model_validator(mode="after")
    def _check_url(self) -> Self:
        try:
            _check_address(self.url)
        except ValueError as error:
            raise ValueError(f"REDIS_URL: {error}") from None
        if self.redis_sentinels:
            _ = self.sentinel_addresses
        return self

    @model_validator(mode="after")
    def _check_authorities(self) -> Self:
        file = self.redis_tls_ca_file
        if file is None:
            return self
        if not self.url.startswith("rediss:") and not self.redis_sentinels:
            raise ValueError("REDIS_TLS_CA_FILE is set, but REDIS_URL does not begin with rediss://")
        try:
            ssl.create_default_context(cafile=file)
        except OSError as error:
            raise ValueError(f"REDIS_TLS_CA_FILE: cannot read CA certificates (PEM) from {file}: {error}") from None
        return self

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


class QueueSettings(RedisSettings):
    """Which queue, and what it promises."""

    queue_name: QueueName = Field("predict_queue", description="the Redis list in which jobs wait")
    job_ttl: float = Field(3600, gt=0, le=2_592_000, description="seconds that a job's data and its result are kept")
    prediction_timeout: float = Field(60, gt=0, le=86_400, description="seconds that one run of the model may take")
    lease_seconds: float = Field(30, ge=0.1, le=3600, description="silence after which a worker's jobs run elsewhere")
    max_attempts: int = Field(3, ge=1, le=100, description="how often a job is tried when its worker is killed")
    dead_ttl: float = Field(604_800, ge=1, le=31_536_000, description="seconds that a dead letter can be redriven")

    @model_validator(mode="after")
    def _check_times(self) -> Self:
        if self.job_ttl < 2 * self.lease_seconds:
            raise ValueError(
                f"JOB_TTL ({self.job_ttl:g} s) must be at least twice LEASE_SECONDS ({self.lease_seconds:g} s), "
                "or a running job could lose its data"
            )
        return self

    def policy(self, max_length: int = 0) -> QueuePolicy:
        """Give the queue's policy; `max_length` 0 means no limit."""
        return QueuePolicy(
            job_ttl=self.job_ttl,
            lease=self.lease_seconds,
            max_attempts=self.max_attempts,
            max_length=max_length,
            dead_ttl=self.dead_ttl,
        )


def add_flags(parser: argparse.ArgumentParser, kind: type[Settings]) -> None:
    """Add one flag for each setting (`--queue-name` for QUEUE_NAME); secrets come from the environment alone."""
    group = parser.add_argument_group("settings", "each is also an environment variable; the flag wins")
    for name, field in kind.model_fields.items():
        if SecretStr in (field.annotation, *getattr(field.annotation, "__args__", ())):
            continue
        default = "" if field.is_required() or field.default_factory or field.default in (None, "") else field.default
        default = f", default {default}" if default != "" else ""
        text = f"{field.description} ({name.upper()}{default})".replace("%", "%%")
        group.add_argument(f"--{name.replace('_', '-')}", dest=name, metavar="…", help=text, default=None)


def read_settings(kind: type[S], flags: argparse.Namespace) -> S:
    """Read the environment under the flags; stop the program with the setting's name when one is wrong."""
    given = {name: value for name, value in vars(flags).items() if name in kind.model_fields and value is not None}
    try:
        return kind.from_environment(**given)
    except ValidationError as error:
        for problem in error.errors():
            name = ".".join(str(part) for part in problem["loc"]).upper()
            message = problem["msg"].removeprefix("Value error, ")
            shown = "" if not name or "PASSWORD" in name else f"={problem['input']!r}"
            print(f"{name}{shown}: {message}" if name else message, file=sys.stderr)
        raise SystemExit(2) from None
