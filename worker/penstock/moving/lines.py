"""A record as one line of JSON and back, without loss.

    {"kind":"message","id":"019b…","created_at":"2026-01-01T00:00:00.000001Z","session_id":"s-1","role":"user",…}

`kind`, then the record's fields in wire order; those that hold their default are left out. Ids are text, times are
ISO 8601 in UTC, stamps are 32 hexadecimal digits, vectors are float32 (little-endian) in base64. A field that is JSON
holds its very bytes, spaces and numbers as they were sent; where these would break the line or begin with a space,
`<field>_text` holds them as a text.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, get_type_hints

import orjson

from penstock.stores.walking import TABLES
from penstock.wire.building import vector_bytes
from penstock.wire.errors import InvalidRecord
from penstock.wire.ids import STAMP_BYTES, format_id, from_us, parse_id, to_us
from penstock.wire.records import KINDS, Embedding, EmbeddingDeletion, Kind, Record, StreamChunk, kind_of
from penstock.wire.text import MAX_INT, clean_text

_IDS = {"id", "stream_id", "message_id"}
_STAMPS = {"stamp", "status_stamp"}
_JSON = {"metadata", "data", "stats", "result", "value"}
_OBJECTS = {"metadata", "data", "stats"}
_AS_TEXT = "_text"
_UNKEPT = {"stream_chunk": ("id", "session_id", "role", "end", "fields", "normalised")}
"""What a table does not keep of its record (`SqlReading.walk`)."""


class BadLine(ValueError):
    """A line is no record. The message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class _Field:
    """How one field is written."""

    name: str
    """In the line."""
    place: int
    """In the record."""
    show: Callable[[Any], Any]
    read: Callable[[str, Any], Any]
    required: bool
    nullable: bool
    is_json: bool


@dataclass(frozen=True, slots=True)
class _Form:
    """How records of one kind are written."""

    kind: Kind
    fields: Mapping[str, _Field]
    """By their names in the line."""
    defaults: tuple[Any, ...]
    has_json: bool


def schema(records: Iterable[type[Record]]) -> dict[str, list[str]]:
    """The fields of the kinds of *records*, in their order."""
    return {name: list(form.fields) for name, form in _FORMS.items() if form.kind.record in records}


def line_of(record: Record) -> bytes:
    """*record* as one line, with its line feed."""
    form = _FORMS[kind_of(record).name]
    shown: dict[str, Any] = {"kind": form.kind.name}
    for field in form.fields.values():
        value: Any = record[field.place]
        if value == form.defaults[field.place] and not field.required:
            continue
        if field.is_json and _would_change(value):
            shown[field.name + _AS_TEXT] = value.decode()
        else:
            shown[field.name] = field.show(value)
    return orjson.dumps(shown, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z)


def _would_change(value: bytes) -> bool:
    """Whether *value*, which is JSON, would not come back from within a line as it is."""
    return b"\n" in value or b"\r" in value or value.strip() != value


def record_of(line: bytes) -> Record:
    """The record that `line_of` wrote.

    Raises:
        BadLine: It is no JSON, of no known kind, or a field is missing, unknown or of another kind.
    """
    given = _loaded(line)
    name = given.pop("kind", None)
    form = _FORMS.get(name) if isinstance(name, str) else None
    if form is None:
        raise BadLine(f"kind is {name!r}; known are {', '.join(_FORMS)}")
    if form.has_json:
        given |= _verbatim(line, form)
    values = list(form.defaults)
    try:
        for name, value in given.items():
            field, value = _named(form, name, value)  # noqa: PLW2901 - the text of JSON becomes JSON
            if value is not None or not field.nullable:
                values[field.place] = field.read(name, value)
    except InvalidRecord as exc:
        raise BadLine(str(exc)) from None
    if missing := [each.name for each in form.fields.values() if each.required and values[each.place] is None]:
        raise BadLine(f"a {form.kind.name} needs {' and '.join(missing)}")
    if form.kind.record is StreamChunk:
        values[0], values[2:4] = values[4], ("", "")
    record: Record = form.kind.record(*values)
    return record


def _named(form: _Form, name: str, value: Any) -> tuple[_Field, Any]:
    """The field that *name* stands for, and the value that it is given."""
    field = form.fields.get(name)
    if field is not None:
        return field, value
    field = form.fields.get(name.removesuffix(_AS_TEXT))
    if field is None or not field.is_json:
        raise BadLine(f"a {form.kind.name} has no field {name!r}; was it written by a newer release?")
    try:
        orjson.loads(value)
    except ValueError:
        raise BadLine(f"{name} is no JSON") from None
    return field, value.encode()


def _loaded(line: bytes) -> dict[str, Any]:
    try:
        fields = orjson.loads(line)
    except ValueError as exc:
        raise BadLine(f"no JSON: {exc}") from None
    if not isinstance(fields, dict):
        raise BadLine("an object is needed")
    return fields


_DECODER = json.JSONDecoder(parse_int=str, parse_float=str)  # numbers are only passed over
_SPACE = " \t\n\r"


def _verbatim(line: bytes, form: _Form) -> dict[str, bytes]:
    """The bytes of those fields of a well-formed *line* that are JSON, as they stand in it."""
    text = line.decode()
    found: dict[str, bytes] = {}
    at = text.index("{") + 1
    while text[at := _past(text, at, _SPACE + ",")] != "}":
        name, at = _DECODER.raw_decode(text, at)
        start = _past(text, at, _SPACE + ":")
        try:
            _, at = _DECODER.raw_decode(text, start)
        except RecursionError:
            raise BadLine(f"{name} is nested too deeply") from None
        if name in form.fields and form.fields[name].is_json:
            found[name] = text[start:at].encode()
    return found


def _past(text: str, at: int, characters: str) -> int:
    while text[at] in characters:
        at += 1
    return at


def _read_text(name: str, value: Any) -> str:
    if clean_text(name, value) is not value:
        raise InvalidRecord(name, value, "a text without NUL is needed")
    return str(value)


def _read_int(name: str, value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and -MAX_INT - 1 <= value <= MAX_INT:
        return value
    raise InvalidRecord(name, value, "an integer of 64 bits is needed")


def _read_bool(name: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise InvalidRecord(name, value, "true or false is needed")


def _read_float(name: str, value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    raise InvalidRecord(name, value, "a number is needed")


def _read_time(name: str, value: Any) -> int:
    try:
        return to_us(datetime.fromisoformat(value), name)
    except (TypeError, ValueError):
        raise InvalidRecord(name, value, "a time in ISO 8601 with its zone is needed") from None


def _read_id(name: str, value: Any) -> bytes:
    if isinstance(value, str):
        return parse_id(value, name)
    raise InvalidRecord(name, value, "a UUID as text is needed")


def _read_stamp(name: str, value: Any) -> bytes:
    try:
        stamp = bytes.fromhex(value)
    except (TypeError, ValueError):
        stamp = b""
    if len(stamp) == STAMP_BYTES:
        return stamp
    raise InvalidRecord(name, value, f"{2 * STAMP_BYTES} hexadecimal digits are needed")


def _read_json(name: str, value: bytes) -> bytes:
    if name.removesuffix(_AS_TEXT) in _OBJECTS and not value.lstrip().startswith(b"{"):
        raise InvalidRecord(name, value, "an object is needed")
    return value


def _show_vector(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _read_vector(name: str, value: Any) -> bytes:
    try:
        return vector_bytes(base64.b64decode(value, validate=True), name)
    except (TypeError, ValueError, binascii.Error):
        raise InvalidRecord(name, value, "finite numbers of float32 in base64 are needed") from None


def _as_it_is(value: Any) -> Any:
    return value


_PLAIN: dict[type, Callable[[str, Any], Any]] = {str: _read_text, int: _read_int, bool: _read_bool, float: _read_float}


def _field(kind: Kind, place: int, hint: Any) -> _Field:
    name = kind.record._fields[place]
    options = getattr(hint, "__args__", (hint,))
    show: Callable[[Any], Any] = _as_it_is
    read, shown = _PLAIN.get(options[0], _read_json), name
    if name.endswith("_us"):
        show, read, shown = from_us, _read_time, name.removesuffix("_us")
    elif name in _STAMPS:
        show, read = bytes.hex, _read_stamp
    elif name in _IDS:
        show, read = format_id, _read_id
    elif name == "vector":
        show, read = _show_vector, _read_vector
    elif name in _JSON:
        show = orjson.Fragment
    required = name not in kind.record._field_defaults
    return _Field(shown, place, show, read, required, type(None) in options, name in _JSON)


def _form(kind: Kind) -> _Form:
    hints = get_type_hints(kind.record)
    kept = [at for at, name in enumerate(kind.record._fields) if name not in _UNKEPT.get(kind.name, ())]
    fields = [_field(kind, at, hints[kind.record._fields[at]]) for at in kept]
    defaults = tuple(kind.record._field_defaults.get(name) for name in kind.record._fields)
    return _Form(kind, {each.name: each for each in fields}, defaults, any(each.is_json for each in fields))


_KEPT = {*(table.record for table in TABLES.values()), Embedding, EmbeddingDeletion}
"""The kinds that stores keep: the others only change what is there."""

_FORMS = {kind.name: _form(kind) for kind in KINDS if kind.record in _KEPT}
