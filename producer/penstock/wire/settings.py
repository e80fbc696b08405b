"""Settings from a mapping: a frozen dataclass whose field `x_y` is read from `PENSTOCK_X_Y`.

`PENSTOCK_CONFIG` may name a TOML file of lines `x_y = value`; what the mapping itself says goes before it.

Read once at the edge, checked once, passed down. No other module looks at the environment.
"""

from __future__ import annotations

import dataclasses
import tomllib
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from penstock.wire.errors import PenstockError

PREFIX = "PENSTOCK_"

ALIASES = {"PENSTOCK_REDIS_URL": "REDIS_URL", "PENSTOCK_SQL_URL": "DATABASE_URL"}
"""Names that platforms set already; ours win."""

CONFIG = "PENSTOCK_CONFIG"

_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off"}

T = TypeVar("T")


class InvalidSetting(PenstockError, ValueError):
    """A setting has a value that nothing can be done with."""


def from_mapping(cls: type[T], mapping: Mapping[str, str]) -> T:
    """An instance of the settings dataclass *cls*, its fields read from *mapping*, the rest defaults.

    Raises:
        InvalidSetting: A value is not of its field's type. Names the variable and the value.
    """
    mapping = with_file(mapping)
    hints = typing.get_type_hints(cls)
    given: dict[str, Any] = {}
    for each in dataclasses.fields(cls):  # type: ignore[arg-type] # every settings class is a dataclass
        name = PREFIX + each.name.upper()
        value = mapping.get(name) or mapping.get(ALIASES.get(name, name))
        if value:
            given[each.name] = _convert(name, value, hints[each.name])
    return cls(**given)


def with_file(mapping: Mapping[str, str]) -> Mapping[str, str]:
    """*mapping*, and what the TOML file that it names says beyond it.

    Raises:
        InvalidSetting: The file cannot be read, is no TOML, or has a table.
    """
    path = mapping.get(CONFIG)
    if not path:
        return mapping
    try:
        given = tomllib.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError) as exc:
        raise InvalidSetting(f"{CONFIG} is {path!r}, which cannot be read: {exc}") from exc
    if tables := [name for name, value in given.items() if isinstance(value, dict | list)]:
        raise InvalidSetting(f"{path}: {tables[0]} is a table or a list; settings are lines such as lease_ms = 5000")
    return {**{PREFIX + name.upper(): _text(value) for name, value in given.items()}, **mapping}


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _convert(name: str, value: str, hint: Any) -> Any:
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        hint = next(arg for arg in typing.get_args(hint) if arg is not types.NoneType)
    if typing.get_origin(hint) is typing.Literal:
        allowed = typing.get_args(hint)
        if value not in allowed:
            raise InvalidSetting(f"{name} is {value!r}; one of {', '.join(allowed)} is needed")
        return value
    convert: Callable[[str], Any] = _bool if hint is bool else hint
    try:
        return convert(value)
    except ValueError as exc:
        needed = "yes or no" if hint is bool else hint.__name__
        raise InvalidSetting(f"{name} is {value!r}; {needed} is needed") from exc


def _bool(value: str) -> bool:
    if value.lower() in _TRUE:
        return True
    if value.lower() in _FALSE:
        return False
    raise ValueError(value)
