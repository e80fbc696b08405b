"""What no SQL store keeps, found before it is written, in the same words for every backend.

Records made by `wire.building` pass. One of a foreign producer may not: a store would change it without a word (NaN
becomes NULL), or keep what cannot be read back, and then no page that it is on. Types, and the ids that every record
has, are checked where frames are decoded.
"""

from __future__ import annotations

import math
import secrets
import typing
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import orjson

from penstock.stores.errors import StoreRejected
from penstock.wire.ids import MAX_US
from penstock.wire.records import KINDS, Message, Record, kind_of
from penstock.wire.text import MAX_INT

_REST = tuple(Message._field_defaults[name] for name in Message._fields[6:])
"""What a message without optional fields has after its metadata."""

_APART = secrets.randbits(52)

_READ_AT_ONCE = 100


def refuse_unsound(records: Sequence[Record]) -> None:
    """Pass if every field of *records*, all of one kind, can be kept, and read back as it is.

    A batch that is sound, which nearly all are, is found so column by column, at a third of the cost.

    Raises:
        StoreRejected: Names the field and what it must be, and never its value.
    """
    if not records or _are_sound(records, _COLUMNS[type(records[0])]):
        return
    for record in records:
        _refuse(record)


def is_plain(message: Message) -> bool:
    """Whether *message* has no optional field behind its metadata. Most have none."""
    return message[6:] == _REST


def refuse_unsound_messages(messages: Sequence[Message], plain: Sequence[Message]) -> None:
    """`refuse_unsound` for messages; *plain* are those of them that are."""
    if len(plain) < len(messages):
        refuse_unsound([message for message in messages if not is_plain(message)])
    if plain and not _are_sound(plain, _COLUMNS[Message][:5]):
        refuse_unsound(plain)


def _refuse(record: Record) -> None:
    try:
        fault = _fault(record)
    except (TypeError, AttributeError):
        raise StoreRejected(f"{kind_of(record).name}: a field is of a type that no column holds") from None
    if fault is not None:
        raise StoreRejected(f"{kind_of(record).name}: {fault}")


def _are_sound(records: Sequence[Record], columns: Sequence[_Column]) -> bool:
    """Whether *records* are sound in these columns, as far as one look at each column can tell."""
    try:
        for take, is_required, are_sound in columns:
            values = list(map(take, records))
            if not is_required:
                values = [value for value in values if value is not None]
            if values and not are_sound(values):
                return False
    except (TypeError, AttributeError):
        return False
    return True


def _fault(record: Record) -> str | None:
    for at, (is_sound, rule) in _CHECKS[type(record)].items():
        value = record[at]
        if (value is not None or at < _required(type(record))) and not is_sound(value):
            return f"{record._fields[at]} {rule}"
    return None


def _required(record: type[Record]) -> int:
    return len(record._fields) - len(record._field_defaults)


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


def _are_texts(texts: Sequence[str]) -> bool:
    return _is_text("".join(texts))


def _are_times(times: Sequence[int]) -> bool:
    return min(times) >= 0 and max(times) <= MAX_US


def _are_numbers(numbers: Sequence[int]) -> bool:
    return _is_number(min(numbers)) and _is_number(max(numbers))


def _are_objects(encoded: Sequence[bytes]) -> bool:
    """Whether all are JSON objects. Some at a time: while they are read, no other thread has Python's lock."""
    return all(_read_as_objects(encoded[at : at + _READ_AT_ONCE]) for at in range(0, len(encoded), _READ_AT_ONCE))


def _read_as_objects(encoded: Sequence[bytes]) -> bool:
    """Read in one go, apart by a number that nobody can put into a piece on purpose."""
    try:
        read = orjson.loads(b"[" + (b",%d," % _APART).join(encoded) + b"]")
    except orjson.JSONDecodeError:
        return False
    apart = read[1::2]
    return (
        len(read) == 2 * len(encoded) - 1
        and apart.count(_APART) == len(apart)
        and all(type(each) is dict for each in read[::2])
    )


_Check: typing.TypeAlias = tuple[Callable[[Any], bool], str]
_Column: typing.TypeAlias = tuple[Callable[[Record], Any], bool, Callable[[Sequence[Any]], bool]]

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

_TOGETHER: Mapping[Callable[[Any], bool], Callable[[Sequence[Any]], bool]] = {
    _is_text: _are_texts,
    _is_time: _are_times,
    _is_number: _are_numbers,
    _is_object: _are_objects,
}
"""The checks of many values that cost less than one after the other."""


def _each(is_sound: Callable[[Any], bool]) -> Callable[[Sequence[Any]], bool]:
    return lambda values: all(map(is_sound, values))


_COLUMNS: Mapping[type[Record], Sequence[_Column]] = {
    record: [
        (itemgetter(at), at < _required(record), _TOGETHER.get(is_sound) or _each(is_sound))
        for at, (is_sound, _) in checks.items()
    ]
    for record, checks in _CHECKS.items()
}
