"""Records as the binary COPY of PostgreSQL takes them, made column by column: hardly any Python runs for a value."""

from __future__ import annotations

import struct
import typing
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from itertools import chain, repeat
from typing import Any, NamedTuple

from penstock.stores.postgres.codecs import EPOCH_US
from penstock.wire.records import LogEvent, Message, Record

NOT_ENCODED = (TypeError, ValueError, AttributeError, LookupError, struct.error)
"""What `Rows.chunks` raises for a value that its column does not hold."""

_ROWS = 500
"""Rows of one chunk: half a millisecond of the loop's thread. The server inserts it while the next one is made."""

_HEAD = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END = b"\xff\xff"

_width = struct.Struct(">h").pack
_size = struct.Struct(">i").pack
_sized_number = struct.Struct(">iq").pack

_NULL = _size(-1)
_ID_SIZE = _size(16)
_FLAGS = {False: _size(1) + b"\0", True: _size(1) + b"\1"}

Column: typing.TypeAlias = Sequence[Any]
Pieces: typing.TypeAlias = tuple[Iterable[bytes], ...]
"""The values of a column in one run of bytes or in two, each with a piece for each row."""
Form: typing.TypeAlias = Callable[[Column], Pieces]


class Rows(NamedTuple):
    """Records of one kind, as they go into their table."""

    names: Sequence[str]
    """The columns that have a value in some record: the others, which are most, cost nothing."""
    parts: Sequence[Sequence[Column]]
    """The columns of some rows at a time. Turned round all at once, the records would not fit a core's cache."""
    forms: Sequence[Form]

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes to send. Raises one of `NOT_ENCODED`."""
        yield _HEAD
        for part in self.parts:
            pieces = [piece for column, form in zip(part, self.forms, strict=True) for piece in form(column)]
            # Constants have no end; the ids have.
            yield b"".join(chain.from_iterable(zip(repeat(_width(len(part))), *pieces, strict=False)))
        yield _END


def rows(records: Sequence[Record]) -> Rows:
    """*records*, at least one and all of one kind that `FORMS` has."""
    forms = FORMS[type(records[0])]
    parts = [list(zip(*records[at : at + _ROWS], strict=True)) for at in range(0, len(records), _ROWS)]
    used = [at for at in range(len(forms)) if any(map(_has_values, (part[at] for part in parts)))]
    names = list(forms)
    return Rows(
        [names[at] for at in used], [[part[at] for at in used] for part in parts], [forms[names[at]] for at in used]
    )


def _has_values(column: Column) -> bool:
    return column[0] is not None or column.count(None) < len(column)


def _ids(column: Sequence[bytes]) -> Pieces:
    if set(map(len, column)) != {16}:
        raise ValueError("an id has 16 bytes")
    return repeat(_ID_SIZE), column


def _times(column: Sequence[int | None]) -> Pieces:
    return ([_NULL if at_us is None else _sized_number(8, at_us - EPOCH_US) for at_us in column],)


def _contents(column: Column) -> Pieces:
    """Texts that are hardly ever the same, and JSON, which is UTF-8 already."""
    if None in column:
        return ([_NULL if text is None else _content(text) for text in column],)
    encoded = [text.encode() if isinstance(text, str) else text for text in column]
    return map(_size, map(len, encoded)), encoded


def _labels(column: Sequence[str | None]) -> Pieces:
    """Texts of which few are different."""
    return _of_few(column, _content)


def _content(text: str | bytes) -> bytes:
    encoded = text.encode() if isinstance(text, str) else text
    return _size(len(encoded)) + encoded


def _numbers(column: Sequence[int]) -> Pieces:
    return _of_few(column, lambda number: _sized_number(8, number))


def _flags(column: Sequence[bool]) -> Pieces:
    return (map(_FLAGS.__getitem__, column),)


def _of_few(column: Sequence[Any], encoded: Callable[[Any], bytes]) -> Pieces:
    known = {value: _NULL if value is None else encoded(value) for value in set(column)}
    return (map(known.__getitem__, column),)


def _forms(record: type[Any]) -> Mapping[str, Form]:
    """The columns of a table in the order of its record's fields, each with what makes its bytes."""
    hints = typing.get_type_hints(record)
    return {name.removesuffix("_us"): _form(name, typing.get_args(hint) or (hint,)) for name, hint in hints.items()}


def _form(name: str, types: Sequence[type]) -> Form:
    if name == "id":
        return _ids
    if name.endswith("_us"):
        return _times
    if name in ("content", "message") or bytes in types:
        return _contents
    return _labels if str in types else _flags if bool in types else _numbers


FORMS: Mapping[type[Record], Mapping[str, Form]] = {record: _forms(record) for record in (Message, LogEvent)}
