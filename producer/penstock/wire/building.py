"""Records made from what a caller gives: checked, normalised, with an id and a time.

The same for every backend, once, at the call; whatever passes here any store can hold.
"""

from __future__ import annotations

import array
import difflib
import logging
import math
import re
import sys
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

import orjson

from penstock.wire.errors import FrameTooNew, InvalidRecord
from penstock.wire.frames import array_of, record_of
from penstock.wire.ids import RisingClock, given_us, new_id, parse_id
from penstock.wire.records import KINDS, Embedding, EmbeddingDeletion, LogEvent, Message, StreamChunk
from penstock.wire.text import clean_id, clean_text, dump_object

_MESSAGE, _LOG_EVENT = (kind.code for record in (Message, LogEvent) for kind in KINDS if kind.record is record)

MAX_DIMENSION = 16_384
"""Longest vector. The largest published embedding models have 4,096; the record limit would allow 2 million."""

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}

_COLLECTION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}\Z")


def _engine_id(field: str, value: object) -> str:
    return str(value) if isinstance(value, uuid.UUID) else clean_id(field, value)


def _state(field: str, value: object) -> str | None:
    if value not in (None, "complete", "streaming", "interrupted"):
        raise InvalidRecord(field, value, "one of complete, streaming, interrupted is needed")
    return None if value is None or value == "complete" else str(value)


_OPTIONAL: dict[str, Callable[[str, object], Any]] = {
    "user_id": clean_id,
    "message_type": clean_id,
    "platform": clean_id,
    "from_user_id": clean_id,
    "from_user_name": clean_text,
    "to_user_id": clean_id,
    "channel_id": clean_id,
    "thread_id": clean_id,
    "bot_user_id": clean_id,
    "engine_session_id": _engine_id,
    "engine_namespace": clean_id,
    "provider_session_id": clean_id,
    "provider_type": clean_id,
    "state": _state,
}
_TIMES = {"updated_at": "updated_at_us", "deleted_at": "deleted_at_us"}

MESSAGE_FIELDS = frozenset({*_OPTIONAL, *_TIMES})
"""What `Producer.message` accepts as `**fields`."""


_KNOWN: set[str] = set()
"""Session ids and roles that were looked at before: to find one here takes a third of the time, 6 % of a call."""

_MOST_KNOWN = 4_096


def _known(field: str, value: object) -> str:
    """See `clean_id`; remembers it, unless it is a program's own kind of str: it may have no hash, or equal others."""
    clean = clean_id(field, value)
    if type(clean) is str:
        if len(_KNOWN) >= _MOST_KNOWN:
            _KNOWN.clear()
        _KNOWN.add(clean)
    return clean


def message(
    clock: RisingClock,
    *,
    session_id: str,
    role: str,
    content: str | None = None,
    metadata: Any = None,
    id: Any = None,  # noqa: A002 - the field's name
    created_at: Any = None,
    **fields: Any,
) -> Message:
    """A message, checked and normalised.

    Raises:
        InvalidRecord: Names the field, the value and what would be accepted.
    """
    array = message_array(clock, session_id, role, content, metadata, id, created_at, fields)
    return cast("Message", record_of(array))


def message_array(  # noqa: PLR0917 - by keyword it takes 35 ns longer, of a call of 1,400
    clock: RisingClock,
    session_id: str,
    role: str,
    content: str | None,
    metadata: Any,
    id: Any,  # noqa: A002 - the field's name
    created_at: Any,
    fields: dict[str, Any],
) -> tuple[Any, ...]:
    """See `message`; as the array that it is on the wire.

    A call makes no `Message`: its 24 fields, most of them None, and leaving them out again take as long as the rest of
    the call (benchmarks/call.py).
    """
    checked, normalised = _optional_fields(fields) if fields else (None, False)
    session = session_id if type(session_id) is str and session_id in _KNOWN else _known("session_id", session_id)
    actor = role if type(role) is str and role in _KNOWN else _known("role", role)
    text = None if content is None else clean_text("content", content)
    encoded, dirty = (None, False) if metadata is None else dump_object("metadata", metadata)
    record_id = new_id() if id is None else parse_id(id)
    created_at_us = clock.now_us() if created_at is None else given_us(created_at, "created_at")
    normalised = normalised or dirty or session is not session_id or actor is not role or text is not content
    if checked or normalised:
        return array_of(
            Message(record_id, created_at_us, session, actor, text, encoded, normalised=normalised, **(checked or {}))
        )
    if encoded is not None:
        return _MESSAGE, record_id, created_at_us, session, actor, text, encoded
    if text is not None:
        return _MESSAGE, record_id, created_at_us, session, actor, text
    return _MESSAGE, record_id, created_at_us, session, actor


def _optional_fields(fields: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    checked: dict[str, Any] = {}
    normalised = False
    for name, value in fields.items():
        if value is None:
            continue
        if name in _TIMES:
            checked[_TIMES[name]] = given_us(value, name)
            continue
        check = _OPTIONAL.get(name)
        if check is None:
            raise _unknown_field(name)
        checked[name] = clean = check(name, value)
        normalised = normalised or (isinstance(value, str) and clean is not value and name != "state")
    return checked, normalised


def _unknown_field(name: str) -> InvalidRecord:
    known = sorted(MESSAGE_FIELDS)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
    return InvalidRecord("message", name, f"no such field; {hint} Anything else goes into metadata")


def stream_fields(metadata: Any, fields: dict[str, Any]) -> tuple[bytes | None, bool]:
    """A stream's message fields as the JSON that its first and last chunk carry."""
    checked, normalised = _optional_fields(fields)
    if metadata is not None:
        encoded, dirty = dump_object("metadata", metadata)
        checked["metadata"], normalised = orjson.Fragment(encoded), normalised or dirty
    return (orjson.dumps(checked) if checked else None), normalised


def message_of_stream(
    first: StreamChunk, fields: bytes | None, content: str, state: str | None, version: int
) -> Message:
    """The message that a stream's chunks make.

    Raises:
        FrameTooNew: *fields* has one that this code does not know.
    """
    known: dict[str, Any] = orjson.loads(fields) if fields else {}
    metadata = known.pop("metadata", None)
    if unknown := known.keys() - set(Message._fields):
        raise FrameTooNew(f"a stream has the field {min(unknown)}, which this worker does not know; upgrade it")
    return Message(
        first.stream_id,
        first.created_at_us,
        first.session_id,
        first.role,
        content,
        None if metadata is None else orjson.dumps(metadata),
        **{**known, "state": state, "version": version, "normalised": first.normalised},
    )


def log_event(
    clock: RisingClock,
    *,
    level: str | int,
    event: str,
    message: str | None = None,
    agent_id: str | None = None,
    task_id: str | None = None,
    data: Any = None,
    id: Any = None,  # noqa: A002 - the field's name
    created_at: Any = None,
) -> LogEvent:
    """A log event, checked and normalised. Raises `InvalidRecord`."""
    array = log_array(clock, level, event, message, agent_id, task_id, data, id, created_at)
    return cast("LogEvent", record_of(array))


def log_array(  # noqa: PLR0917 - as above
    clock: RisingClock,
    level: str | int,
    event: str,
    message: str | None,
    agent_id: str | None,
    task_id: str | None,
    data: Any,
    id: Any,  # noqa: A002 - the field's name
    created_at: Any,
) -> tuple[Any, ...]:
    """See `log_event`; as the array that it is on the wire."""
    name = clean_id("event", event)
    text = None if message is None else clean_text("message", message)
    agent = None if agent_id is None else clean_id("agent_id", agent_id)
    task = None if task_id is None else clean_id("task_id", task_id)
    encoded, dirty = (None, False) if data is None else dump_object("data", data)
    array = (
        _LOG_EVENT,
        new_id() if id is None else parse_id(id),
        clock.now_us() if created_at is None else given_us(created_at, "created_at"),
        level_number(level),
        name,
        text,
        agent,
        task,
        encoded,
    )
    if dirty or name is not event or text is not message or agent is not agent_id or task is not task_id:
        return (*array, True)
    return array


def level_number(level: object) -> int:
    """A level's number, given its name in any case or a number of `logging`."""
    if isinstance(level, str):
        number = LEVELS.get(level.lower()) or logging.getLevelNamesMapping().get(level.upper())
        if number:
            return number
    elif isinstance(level, int) and not isinstance(level, bool) and 0 < level <= 100:
        return level
    raise InvalidRecord("level", level, f"one of {', '.join(LEVELS)}, or a number from 1 to 100 is needed")


def embedding(
    clock: RisingClock,
    *,
    collection: str,
    id: str,  # noqa: A002 - the field's name
    vector: Any = None,
    text: str | None = None,
    metadata: Any = None,
    created_at: Any = None,
) -> Embedding:
    """A vector, checked and as float32 bytes; none where a worker shall make it of the text. Raises `InvalidRecord`."""
    key = clean_id("id", id)
    body = None if text is None else clean_text("text", text)
    if vector is None and not body:
        raise InvalidRecord("vector", vector, "a vector is needed, or a text that a worker makes one of")
    encoded, dirty = (None, False) if metadata is None else dump_object("metadata", metadata)
    return Embedding(
        new_id(),
        clock.now_us() if created_at is None else given_us(created_at, "created_at"),
        collection_name(collection),
        key,
        b"" if vector is None else vector_bytes(vector),
        body,
        encoded,
        dirty or key is not id or body is not text,
    )


def embedding_deletion(clock: RisingClock, *, collection: str, id: str) -> EmbeddingDeletion:  # noqa: A002 - as above
    """The deletion of one vector. Raises `InvalidRecord`."""
    return EmbeddingDeletion(new_id(), clock.now_us(), collection_name(collection), clean_id("id", id))


def collection_name(value: object) -> str:
    """A collection's name, which is also a table's name in the vector stores."""
    if isinstance(value, str) and _COLLECTION.match(value):
        return value
    raise InvalidRecord("collection", value, "1 to 63 of A-Z a-z 0-9 _ . - are accepted, the first one no . or -")


def vector_bytes(vector: Any, field: str = "vector") -> bytes:
    """*vector* as little-endian float32 bytes.

    Accepts a sequence of numbers, a one-dimensional numpy array, or float32 bytes.

    Raises:
        InvalidRecord: Empty, too long, not numbers, or not finite.
    """
    floats = _floats(vector, field)
    if not 0 < len(floats) <= MAX_DIMENSION:
        raise InvalidRecord(field, f"{len(floats)} numbers", f"1 to {MAX_DIMENSION:,} are accepted")
    # A sum of float32 in float64 cannot overflow, so it is finite exactly when every part is.
    if not math.isfinite(sum(floats)):
        at = next(i for i, number in enumerate(floats) if not math.isfinite(number))
        raise InvalidRecord(f"{field}[{at}]", floats[at], "every number must be finite in float32")
    if sys.byteorder == "big":
        floats.byteswap()
    return floats.tobytes()


def _floats(vector: Any, field: str) -> array.array[float]:
    floats = array.array("f")
    if isinstance(vector, bytes | bytearray | memoryview):
        raw = bytes(vector)
        if len(raw) % 4:
            raise InvalidRecord(field, f"{len(raw)} bytes", "float32 bytes come in fours")
        floats.frombytes(raw)
        return floats
    if hasattr(vector, "astype"):  # numpy, without importing it
        floats.frombytes(_array_bytes(vector, field))
        return floats
    if isinstance(vector, Mapping | set | frozenset):
        raise InvalidRecord(field, vector, f"a sequence of numbers is needed; a {type(vector).__name__} has no order")
    try:
        return array.array("f", cast("Iterable[float]", vector))
    except (TypeError, OverflowError) as exc:
        raise InvalidRecord(field, vector, f"a sequence of numbers is needed ({exc})") from exc


def _array_bytes(vector: Any, field: str) -> bytes:
    if getattr(vector, "ndim", 1) != 1:
        raise InvalidRecord(field, f"{vector.ndim} dimensions", "a one-dimensional array is needed")
    kind = getattr(getattr(vector, "dtype", None), "kind", "?")
    if kind not in "fiub":
        raise InvalidRecord(field, str(getattr(vector, "dtype", "?")), "an array of real numbers is needed")
    try:
        return cast("bytes", vector.astype("<f4").tobytes())
    except (AttributeError, RuntimeWarning) as exc:  # no numpy array after all, or a number beyond float32
        raise InvalidRecord(field, vector, f"an array that fits float32 is needed ({exc})") from exc
