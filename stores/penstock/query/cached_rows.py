"""Rows as bytes and back: what a cache keeps. Never read by anything but the release that wrote it."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgpack

from penstock.stores.rows import StoredMessage

_TIMES = 3
"""Of msgpack: timestamps become aware datetimes in UTC, to the microsecond."""


class BadAnswer(ValueError):
    """The bytes are no rows of that class."""


def packed(answer: Any) -> bytes:
    """A row, a list of rows, a number or None. Each row carries its fields' names: another release has others."""
    return bytes(msgpack.packb(_plain(answer), datetime=True, use_bin_type=True))


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {each.name: _plain(getattr(value, each.name)) for each in dataclasses.fields(value)}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value


def unpacked(body: bytes, make: Any) -> Any:
    """The answer in *body*, its rows as *make*; a number as it is.

    Raises:
        BadAnswer: It is none of them.
    """
    try:
        found = msgpack.unpackb(body, timestamp=_TIMES, strict_map_key=False)
        return [_row(each, make) for each in found] if isinstance(found, list) else _row(found, make)
    except (ValueError, TypeError, KeyError, msgpack.UnpackException) as exc:
        raise BadAnswer(type(exc).__name__) from exc


def _row(found: Any, make: Any) -> Any:
    if not isinstance(found, dict):
        return found
    if found.keys() != {each.name for each in dataclasses.fields(make)}:
        raise KeyError(make.__name__)
    if isinstance(last := found.get("last_message"), dict):
        found["last_message"] = StoredMessage(**last)
    return make(**found)
