"""Settings from a mapping: a frozen dataclass whose field `x_y` is read from `PENSTOCK_X_Y`.

Read once at the edge, checked once, passed down. No other module looks at the environment.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from penstock.wire.errors import PenstockError

PREFIX = "PENSTOCK_"

ALIASES = {"PENSTOCK_REDIS_URL": "REDIS_URL", "PENSTOCK_SQL_URL": "DATABASE_URL"}
"""Names that platforms set already; ours win."""

_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off"}

T = TypeVar("T")


class InvalidSetting(PenstockError, ValueError):
    """A setting has a value that nothing can be done with."""


def from_mapping(cls: type[T], mapping: Mapping[str, str]) -> T:
    """An instance of the settings dataclass *cls*, its fields read from *mapping*, the rest defaults.

    Raises:
        InvalidSetting: A value is not of its field's type. Names the variable and the value.
    """
    hints = typing.get_type_hints(cls)
    given: dict[str, Any] = {}
    for each in dataclasses.fields(cls):  # type: ignore[arg-type] # every settings class is a dataclass
        name = PREFIX + each.name.upper()
        value = mapping.get(name) or mapping.get(ALIASES.get(name, name))
        if value:
            given[each.name] = _convert(name, value, hints[each.name])
    return cls(**given)


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
