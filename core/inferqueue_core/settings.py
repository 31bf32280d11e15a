"""Settings from the environment and from flags; flags win."""

import argparse
import os
import ssl
import sys
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar
from urllib.parse import parse_qsl, quote, urlsplit

import msgspec
import redis
from msgspec import Meta, Struct

from inferqueue_core.keys import check_queue_name
from inferqueue_core.policy import QueuePolicy

S = TypeVar("S", bound="Settings")
# Bounds and descriptions are msgspec's `Meta`; a function beside them gives the value that it gets, or a ValueError.
QueueName = Annotated[str, check_queue_name]


class Secret:
    """A text that nobody sees who prints the settings."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def get_secret_value(self) -> str:
        return self._text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "Secret('…')"


class SettingsError(ValueError):
    """Settings that cannot be used: a line for each, which begins with the name of its environment variable."""


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


class _Field:
    """One field of settings: the type of a value that is set, its description, and how a text becomes that value."""

    def __init__(self, field: msgspec.structs.FieldInfo) -> None:
        self.name, self.default = field.name, field.default
        self._kind, metadata = _parts(field.type)
        self._metas = [entry for entry in metadata if isinstance(entry, Meta)]
        self._checks = [entry for entry in metadata if not isinstance(entry, Meta)]
        self.description = "".join(meta.description or "" for meta in self._metas)
        self.is_secret = self._kind is Secret

    def read(self, value: object) -> object:
        """Give the value that stands for this one, which may be a text; raises ValueError in words for users."""
        if self._kind in (Path, Secret):
            return value if isinstance(value, self._kind) else self._kind(value)
        kind = Annotated[self._kind, *self._metas] if self._metas else self._kind
        try:
            value = msgspec.convert(value, kind, strict=False)
        except msgspec.ValidationError as error:
            raise ValueError(self._expected() or str(error)) from None
        for check in self._checks:
            value = check(value)
        return value

    def _expected(self) -> str:
        if self._kind not in (int, float):
            return ""
        bounds = [
            f"{sign} {bound:,}"
            for meta in self._metas
            for sign, bound in ((">", meta.gt), ("≥", meta.ge), ("≤", meta.le))
            if bound is not None
        ]
        return f"expected a {'whole ' if self._kind is int else ''}number {' and '.join(bounds)}".rstrip()


def _parts(annotation: Any) -> tuple[Any, list[Any]]:
    """Split a field's annotation into the type of a value, without None, and what stands beside it in `Annotated`."""
    if typing.get_origin(annotation) is Annotated:
        inner, *metadata = typing.get_args(annotation)
        kind, inner_metadata = _parts(inner)
        return kind, inner_metadata + metadata
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return _parts(next(part for part in typing.get_args(annotation) if part is not types.NoneType))
    return annotation, []


def _fields(kind: "type[Settings]") -> list[_Field]:
    return [_Field(field) for field in msgspec.structs.fields(kind)]


class Settings(Struct, frozen=True, kw_only=True):
    """Fields are named as their environment variables in lower case; `from_environment` reads and checks them.

    A field's annotation holds its description and the bounds of its value; `_check` looks at what the fields make
    together.
    """

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ, **given: object) -> Self:
        """Take what is given, then what the environment says; raises SettingsError, which names all wrong ones.

        An empty variable is an unset one: that is how manifests leave out what nobody has chosen.
        """
        found = {name: value for name in cls.__struct_fields__ if (value := environment.get(name.upper()))}
        return cls.checked(**found | given)

    @classmethod
    def checked(cls, **given: object) -> Self:
        """Make settings of values that may be texts, as in the environment; raises SettingsError likewise."""
        unknown = given.keys() - {*cls.__struct_fields__}
        if unknown:
            raise TypeError(f"{cls.__name__} has no field {', '.join(sorted(unknown))}")
        try:
            given = cls._found(given)
        except ValueError as error:
            raise SettingsError(str(error)) from None
        problems, values = [], {}
        for field in _fields(cls):
            value = given.get(field.name)
            if value is None:
                continue
            try:
                values[field.name] = field.read(value)
            except ValueError as error:
                shown = "" if field.is_secret else f"={value!r}"
                problems.append(f"{field.name.upper()}{shown}: {error}")
        if problems:
            raise SettingsError("\n".join(problems))
        settings = cls(**values)
        try:
            settings._check()
        except ValueError as error:
            raise SettingsError(str(error)) from None
        return settings

    @classmethod
    def _found(cls, given: dict[str, object]) -> dict[str, object]:
        """Give the values that what was given stands for; raises ValueError as `_check` does."""
        return given

    def _check(self) -> None:
        """Raise ValueError, in words that begin with a setting's name, when these settings cannot be used."""


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
    def _found(cls, given: dict[str, object]) -> dict[str, object]:
        port = given.get("redis_port")
        if isinstance(port, str) and port.startswith("tcp://"):
            # Kubernetes sets REDIS_PORT=tcp://10.0.0.1:6379 in every pod beside a Service named `redis`.
            given = given | {"redis_port": port.rpartition(":")[2]}
        for name in ("redis_username", "redis_password"):
            path = given.get(f"{name}_file")
            if path is not None and given.get(name) is None:
                given = given | {name: _text_of(name, Path(str(path)))}
        return super()._found(given)

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
        float, Meta(gt=0, le=2_592_000, description="seconds that a job's data and its result are kept")
    ] = 3600
    prediction_timeout: Annotated[
        float, Meta(gt=0, le=86_400, description="seconds that one run of the model may take")
    ] = 60
    lease_seconds: Annotated[
        float, Meta(ge=0.1, le=3600, description="silence after which a worker's jobs run elsewhere")
    ] = 30
    max_attempts: Annotated[
        int, Meta(ge=1, le=100, description="how often a job is tried when its worker is killed")
    ] = 3
    dead_ttl: Annotated[float, Meta(ge=1, le=31_536_000, description="seconds that a dead letter can be redriven")] = (
        604_800
    )

    def _check(self) -> None:
        super()._check()
        if self.job_ttl < 2 * self.lease_seconds:
            raise ValueError(
                f"JOB_TTL ({self.job_ttl:g} s) must be at least twice LEASE_SECONDS ({self.lease_seconds:g} s), "
                "or a running job could lose its data"
            )

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
    for field in _fields(kind):
        if field.is_secret:
            continue
        default = "" if field.default in (None, "", msgspec.NODEFAULT) else f", default {field.default}"
        text = f"{field.description} ({field.name.upper()}{default})".replace("%", "%%")
        group.add_argument(f"--{field.name.replace('_', '-')}", dest=field.name, metavar="…", help=text, default=None)


def read_settings(kind: type[S], flags: argparse.Namespace) -> S:
    """Read the environment under the flags; stop the program with the setting's name when one is wrong."""
    given = {name: value for name, value in vars(flags).items() if name in kind.__struct_fields__ and value is not None}
    try:
        return kind.from_environment(**given)
    except SettingsError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
