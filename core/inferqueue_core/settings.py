"""Settings from the environment and from flags; flags win."""

import argparse
import os
import sys
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

import msgspec
from msgspec import Meta, Struct

S = TypeVar("S", bound="Settings")


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

    A field's annotation holds a `Meta` with its bounds and description, and functions that give its value back or raise
    ValueError; `_check` looks at what the fields make together.
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
            given = cls._resolved(given)
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
    def _resolved(cls, given: dict[str, object]) -> dict[str, object]:
        """Give the values that what was given stands for; raises ValueError as `_check` does."""
        return given

    def _check(self) -> None:
        """Raise ValueError, in words that begin with a setting's name, when these settings cannot be used."""


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
