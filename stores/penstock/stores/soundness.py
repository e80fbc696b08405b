"""What no SQL store keeps, found before it is written, in the same words for every backend.

Records made by `wire.building` pass. One of a foreign producer may not: a store would change it without a word (NaN
becomes NULL), or keep what cannot be read back, and then no page that it is on. Types, and the ids that every record
has, are checked where frames are decoded.
"""

from __future__ import annotations

import math
import typing
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from penstock.stores.errors import StoreRejected
from penstock.wire.ids import MAX_US
from penstock.wire.records import KINDS, LogEvent, Message, Record, kind_of
from penstock.wire.text import MAX_INT

_REST = tuple(Message._field_defaults[name] for name in Message._fields[6:])
_AFTER_NAMES = _REST[13:]


def refuse_unsound(record: Record) -> None:
    """Pass if every field can be kept, and read back as it is.

    Raises:
        StoreRejected: Names the field and what it must be, and never its value.
    """
    try:
        # Nearly all records are of these two kinds, and sound, which their own functions find at a third of the cost.
        if (type(record) is Message and _is_plain_message(record)) or (
            type(record) is LogEvent and _is_plain_log(record)
        ):
            return
        fault = _fault(record)
    except (TypeError, AttributeError):
        raise StoreRejected(f"{kind_of(record).name}: a field is of a type that no column holds") from None
    if fault is not None:
        raise StoreRejected(f"{kind_of(record).name}: {fault}")


def _fault(record: Record) -> str | None:
    for at, (is_sound, rule) in _CHECKS[type(record)].items():
        value = record[at]
        if value is not None and not is_sound(value):
            return f"{record._fields[at]} {rule}"
    return None


def _is_plain_message(message: Message) -> bool:
    """Whether *message* is sound, by one look at all its texts. False also where that look is not enough."""
    _, at_us, session, role, content, metadata = message[:6]
    texts = session + role if content is None else session + role + content
    rest = message[6:]
    if rest != _REST:
        if rest[13:] != _AFTER_NAMES:
            return False
        texts += "".join(filter(None, rest[:13]))
    return 0 <= at_us <= MAX_US and _is_text(texts) and (metadata is None or _is_object(metadata))


def _is_plain_log(log: LogEvent) -> bool:
    _, at_us, level, event, message, agent, task, data, _ = log
    texts = event + (message or "") + (agent or "") + (task or "")
    return 0 <= at_us <= MAX_US and 0 <= level <= MAX_INT and _is_text(texts) and (data is None or _is_object(data))


def _is_text(text: str) -> bool:
    return "\0" not in text and (text.isascii() or _is_utf8(text))


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_time(at_us: int) -> bool:
    return 0 <= at_us <= MAX_US


def _is_number(number: int) -> bool:
    return -MAX_INT - 1 <= number <= MAX_INT


def _is_id(value: bytes) -> bool:
    return len(value) == 16


def _is_state(state: str) -> bool:
    return state in ("streaming", "interrupted")


def _is_object(encoded: bytes) -> bool:
    return encoded.lstrip()[:1] == b"{" and _is_json(encoded)


def _is_json(encoded: bytes) -> bool:
    """As every reader has it. A database takes more: half a surrogate, a number beyond float64, any depth."""
    try:
        orjson.loads(encoded)
    except orjson.JSONDecodeError:
        return False
    return True


_Check: typing.TypeAlias = tuple[Callable[[Any], bool], str]

_OBJECT: _Check = (_is_object, "must be a JSON object, in UTF-8")
_VALUE: _Check = (_is_json, "must be JSON, in UTF-8")
_TIME: _Check = (_is_time, "is outside of the years 1970 to 9999")
_BY_NAME: Mapping[str, _Check] = {
    **dict.fromkeys(("metadata", "data", "stats"), _OBJECT),
    **dict.fromkeys(("result", "value"), _VALUE),
    **dict.fromkeys(("message_id", "status_stamp"), (_is_id, "must have 16 bytes")),
}
_BY_TYPE: Mapping[type, _Check] = {
    str: (_is_text, "holds NUL or a lone surrogate, which not every store can express"),
    int: (_is_number, "does not fit 64 bits"),
    float: (math.isfinite, "must be a finite number"),
}


def _checks(record: type[Any]) -> Mapping[int, _Check]:
    """For the place of a field, what its value must be."""
    found: dict[int, _Check] = {}
    for at, (name, hint) in enumerate(typing.get_type_hints(record).items()):
        types = typing.get_args(hint) or (hint,)
        check = _TIME if name.endswith("_us") else _BY_NAME.get(name, _BY_TYPE.get(types[0]))
        if check is not None:
            found[at] = check
    if record is Message:
        found[Message._fields.index("state")] = (_is_state, "must be streaming, interrupted or nothing")
    return found


_CHECKS: Mapping[type[Record], Mapping[int, _Check]] = {each.record: _checks(each.record) for each in KINDS}
