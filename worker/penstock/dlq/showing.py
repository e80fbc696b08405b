"""A record as people and programs see it: ids as text, times as `datetime`, JSON decoded, a vector as numbers."""

from __future__ import annotations

import array
import sys
from collections.abc import Callable
from typing import Any

from penstock.wire.ids import format_id, from_us
from penstock.wire.records import Record
from penstock.wire.text import load_object, load_value


def shown(record: Record) -> dict[str, Any]:
    """The fields of *record* that are there, in wire order."""
    return dict(_field(name, value) for name, value in record._asdict().items() if value is not None)


def _field(name: str, value: Any) -> tuple[str, Any]:
    """A field for showing; as it is where it is not what it should be, which may be why the record was refused."""
    known, show = (name.removesuffix("_us"), from_us) if name.endswith("_us") else (name, _SHOW.get(name))
    try:
        return known, value if show is None else show(value)
    except (ValueError, TypeError, OverflowError):
        return name, value.decode(errors="replace") if isinstance(value, bytes) else value


def _vector(value: bytes) -> list[float]:
    floats = array.array("f", value)
    if sys.byteorder == "big":
        floats.byteswap()
    return floats.tolist()


def _stamp(value: bytes) -> str:
    return value.hex()


_SHOW: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("id", "stream_id", "message_id"), format_id),
    **dict.fromkeys(("stamp", "status_stamp"), _stamp),
    **dict.fromkeys(("metadata", "data", "fields", "stats"), load_object),
    **dict.fromkeys(("result", "value"), load_value),
    "vector": _vector,
}
