"""Which fields of a record identify and order it, which hold text, which hold JSON, and what may stand in them."""

from __future__ import annotations

import math
import typing
from typing import Any, NamedTuple

import orjson

from penstock.wire.records import KINDS, Record
from penstock.wire.text import MAX_ID_CHARS, MAX_INT, clean_text

FIXED = frozenset(
    {
        *("id", "created_at_us", "deleted_at_us", "first_at_us", "stamp", "status_stamp", "version", "vector"),
        *("session_id", "message_id", "task_id", "agent_id", "context_id", "namespace", "key", "collection"),
        *("stream_id", "seq", "chunks", "end"),
    }
)
"""What a record is identified, ordered and told apart from an older one by; a vector is what its text was made to."""


_ANY_JSON = frozenset({"result", "value"})
"""The other JSON fields hold an object."""


class _Fields(NamedTuple):
    """What is known of the fields of one record class."""

    texts: tuple[str, ...]
    json: tuple[str, ...]
    types: dict[str, tuple[type, ...]]


def _fields(record: type[Any]) -> _Fields:
    hints = typing.get_type_hints(record)
    types = {name: typing.get_args(hints[name]) or (hints[name],) for name in record._fields}
    free = [name for name in types if name not in FIXED and not name.endswith("_id")]
    texts = tuple(name for name in free if str in types[name])
    return _Fields(texts, tuple(name for name in free if bytes in types[name]), types)


_FIELDS = {kind.record: _fields(kind.record) for kind in KINDS}


def text_fields(record: Record) -> tuple[str, ...]:
    """The fields of *record* that hold text and no id; each may be None."""
    return _FIELDS[type(record)].texts


def json_fields(record: Record) -> tuple[str, ...]:
    """The fields of *record* that hold JSON as UTF-8; each may be None."""
    return _FIELDS[type(record)].json


def changed_wrongly(before: Record, after: Record) -> str | None:
    """Why *after*, of the same kind, cannot stand for *before*; None when it can. Names fields, never their values."""
    types = _FIELDS[type(before)].types
    for name, old, new in zip(types, before, after, strict=True):
        if new is old or (type(new) is type(old) and new == old):
            continue
        if name in FIXED:
            return f"changed {name}, which must stay"
        if fault := _fault(name, new, types[name]):
            return f"put {fault} into {name}"
    return None


def _fault(name: str, value: object, types: tuple[type, ...]) -> str | None:
    if type(value) not in types:
        return type(value).__name__
    if isinstance(value, str):
        return _text_fault(value, is_name=name.endswith("_id"))
    if isinstance(value, bytes):
        return _json_fault(value, any_value=name in _ANY_JSON)
    if isinstance(value, int) and abs(value) > MAX_INT:
        return "an integer beyond 64 bits"
    if isinstance(value, float) and not math.isfinite(value):
        return "a number that is not finite"
    return None


def _text_fault(value: str, *, is_name: bool) -> str | None:
    if clean_text("text", value) is not value:
        return "NUL or a lone surrogate"
    if is_name and not 0 < len(value) <= MAX_ID_CHARS:
        return f"an id that has not 1 to {MAX_ID_CHARS} characters"
    return None


def _json_fault(value: bytes, *, any_value: bool) -> str | None:
    try:
        found = orjson.loads(value)
    except ValueError:
        return "what is no JSON"
    return None if any_value or isinstance(found, dict) else "JSON that is no object"
