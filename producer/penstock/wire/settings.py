"""Settings from a mapping: a frozen dataclass whose field `x_y` is read from `PENSTOCK_X_Y`.

`PENSTOCK_CONFIG` may name a file of lines `x_y = value`; what the mapping itself says goes before it.

Read once at the edge, checked once, passed down. No other module looks at the environment.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, TypeVar

from penstock.wire.errors import PenstockError
from penstock.wire.settings_file import SettingsFile, read

PREFIX = "PENSTOCK_"

ALIASES = {
    "PENSTOCK_REDIS_URL": "REDIS_URL",
    "PENSTOCK_SQL_URL": "DATABASE_URL",
    "PENSTOCK_EMBEDDER_KEY": "OPENAI_API_KEY",
}
"""Names that platforms set already; ours win, in the file too."""

CONFIG = "PENSTOCK_CONFIG"

_NEEDED = {bool: "yes or no", int: "a whole number", float: "a number"}
_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off"}

T = TypeVar("T")


class InvalidSetting(PenstockError, ValueError):
    """A setting has a value that nothing can be done with."""


class Found(NamedTuple):
    """A setting that is not left to its default."""

    value: str
    place: str
    """For people: the variable, or the line of the file."""
    origin: Literal["file", "environment"]


class Sources:
    """Where settings are looked up: a mapping, and behind it the file that it names."""

    def __init__(self, mapping: Mapping[str, str]) -> None:
        path = mapping.get(CONFIG)
        self.file: SettingsFile | None = read(path, mapping) if path else None
        self._mapping = mapping

    def find(self, name: str) -> Found | None:
        """What is said of the field *name*; an empty text says nothing.

        Raises:
            InvalidSetting: The file cannot be used, or this line of it needs a variable that is not set.
        """
        if self.file and self.file.faults:
            raise InvalidSetting(self.file.faults[0])
        return self._in_mapping(variable_of(name)) or self._in_file(name) or self._in_mapping(_alias_of(name))

    def _in_mapping(self, variable: str) -> Found | None:
        value = self._mapping.get(variable)
        return Found(value, variable, "environment") if value else None

    def _in_file(self, name: str) -> Found | None:
        line = self.file.lines.get(name) if self.file else None
        if line is None:
            return None
        if line.faults:
            raise InvalidSetting(line.faults[0])
        return Found(line.value, line.place, "file") if line.value else None


def variable_of(name: str) -> str:
    """The variable that the field *name* is read from."""
    return PREFIX + name.upper()


def _alias_of(name: str) -> str:
    return ALIASES.get(variable_of(name), "")


def from_mapping(cls: type[T], mapping: Mapping[str, str]) -> T:
    """An instance of the settings dataclass *cls*, its fields read from *mapping*, the rest defaults.

    Names that are not *cls*'s are somebody else's: one environment and one file serve producers, workers and readers.

    Raises:
        InvalidSetting: A value is not of its field's type, or the file that *mapping* names cannot be used. Names
            the variable, or the line, and the value.
    """
    sources = Sources(mapping)
    given: dict[str, Any] = {}
    for name, hint in hints_of(cls).items():
        found = sources.find(name)
        if found:
            given[name] = converted(found, hint)
    return cls(**given)


def hints_of(cls: type[Any]) -> dict[str, Any]:
    """The types of the fields of a settings dataclass."""
    hints = typing.get_type_hints(cls)
    return {each.name: hints[each.name] for each in dataclasses.fields(cls)}


def converted(found: Found, hint: Any) -> Any:
    """The value of a field of type *hint*. Raises `InvalidSetting`."""
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        hint = next(arg for arg in typing.get_args(hint) if arg is not types.NoneType)
    if typing.get_origin(hint) is Literal:
        allowed = typing.get_args(hint)
        if found.value not in allowed:
            raise InvalidSetting(f"{found.place} is {found.value!r}; one of {', '.join(allowed)} is needed")
        return found.value
    convert: Callable[[str], Any] = _bool if hint is bool else hint
    try:
        return convert(found.value)
    except ValueError as exc:
        raise InvalidSetting(f"{found.place} is {found.value!r}; {_NEEDED[hint]} is needed") from exc


def _bool(value: str) -> bool:
    if value.lower() in _TRUE:
        return True
    if value.lower() in _FALSE:
        return False
    raise ValueError(value)
