"""A letter's record mended by hand: its fields as JSON, checked as the producer's calls check them."""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple, get_args, get_type_hints

import orjson

from penstock.dlq.letters import DeadLetter, find
from penstock.dlq.rebuilding import ANCHORS, rebuilt
from penstock.dlq.showing import shown
from penstock.wire.errors import InvalidRecord
from penstock.wire.frames import encode
from penstock.wire.letters import Edit
from penstock.wire.queue import Queue
from penstock.wire.records import KINDS, Record, kind_of

_TEXTS = {
    kind.record: {name for name, hint in get_type_hints(kind.record).items() if str in (get_args(hint) or (hint,))}
    for kind in KINDS
}
"""The fields of each kind that hold text."""

Change = Callable[[DeadLetter], Record | None]
"""The record to send in the place of a letter's, of the same id and ordering key; None to leave the letter."""


class NoRecord(InvalidRecord):
    """The letter holds bytes that are no record. It can be replayed or purged, and not edited."""

    def __init__(self, letter_id: str) -> None:
        ValueError.__init__(self, f"the letter {letter_id} holds no record that can be edited; replay or purge it")
        self.field, self.value, self.limit = "id", letter_id, "a letter that holds a record"


class Edition(NamedTuple):
    """What came of an edit."""

    letter: DeadLetter | None
    """As it is now; None when somebody replayed, purged or edited it meanwhile: then nothing was changed."""
    fields: tuple[str, ...]
    """Those that are other than before."""


def fields_of(letter: DeadLetter) -> dict[str, Any]:
    """The record of *letter* as plain JSON, to be changed and given to `edit`.

    Raises:
        NoRecord: It has none.
    """
    return _plain(_record(letter))


async def edit(queue: Queue, record_id: object, fields: Mapping[str, Any], *, whole: bool = False) -> Edition | None:
    """Change fields of a dead letter's record; None when there is no letter. It can then be replayed.

    Times are ISO 8601 or microseconds, JSON is itself, a vector is a sequence of numbers. With *whole*, what *fields*
    does not name is emptied. What identifies and orders the record must stay. The letter moves to the end of its
    partition's, and remembers which fields were changed, and when. A repeated call changes nothing further.

    Raises:
        InvalidRecord: Some field cannot be stored, is unknown or must stay. Also `NoRecord`.
        QueueUnavailable: No answer; it may or may not be edited.
    """
    letter = await find(queue, record_id)
    if letter is None:
        return None
    before = _record(letter)
    after = changed(before, fields, whole=whole)
    names = differing(before, after)
    if not names:
        return Edition(letter, ())
    edited = mended(letter, after, time.time_ns() // 1_000_000)
    raw = edited.entry.letter
    at = await queue.put_edited(letter.entry, raw.record, raw.envelope)
    return Edition(None if at is None else await find(queue, record_id), names)


def value_of(record: Record, name: str, text: str) -> Any:
    """What *text* stands for in the field *name* of *record*: itself in one of text, else JSON.

    Raises:
        InvalidRecord: There is no such field, or *text* is no JSON.
    """
    _refuse_unknown(record, name)
    if name in _TEXTS[type(record)]:
        return text
    try:
        return orjson.loads(text)
    except ValueError:
        if f"{name}_us" in record._fields:
            return text
        raise InvalidRecord(name, text, "JSON is needed") from None


def mended(letter: DeadLetter, record: Record, now_ms: int) -> DeadLetter:
    """*letter* with *record* in the place of its own, remembering what was changed.

    Raises:
        InvalidRecord: *record* cannot stand for it, or cannot be stored.
    """
    before = _record(letter)
    if type(record) is not type(before):
        raise InvalidRecord("record", type(record).__name__, f"a {type(before).__name__} is needed, as the letter has")
    after = changed(before, _plain(record), whole=True)
    names = differing(before, after)
    if not names:
        return letter
    envelope = letter.envelope.edited(Edit(now_ms, names)).pack()
    raw = letter.entry.letter._replace(record=encode(after), envelope=envelope)
    return DeadLetter.of(letter.entry._replace(letter=raw))


def changed(before: Record, fields: Mapping[str, Any], *, whole: bool = False) -> Record:
    """*before* with *fields* in it, sound as a whole.

    Raises:
        InvalidRecord: A field cannot be stored, by any store; or is unknown, or must stay.
    """
    known = _plain(before)
    anchors = ANCHORS[type(before)]
    for name, value in fields.items():
        _refuse_unknown(before, name)
        if name in anchors and value != known.get(name):
            raise InvalidRecord(name, value, "this tells which record it is and where it belongs, and must stay")
    kept = {name: value for name, value in known.items() if name in anchors or not whole}
    given = {**kept, **{name: value for name, value in fields.items() if value is not None}}
    for name, value in fields.items():
        if value is None and name not in anchors:
            given.pop(name, None)
    after = rebuilt(before, given)
    for name in anchors:
        raw = name if name in before._fields else f"{name}_us"
        if name != "normalised" and getattr(after, raw) != getattr(before, raw):
            raise InvalidRecord(name, getattr(before, raw), "no store takes it, and it must stay; purge the letter")
    return after


def differing(before: Record, after: Record) -> tuple[str, ...]:
    """The names of the fields in which two records of one kind differ, but for those that follow from others."""
    pairs = zip(before._fields, before, after, strict=True)
    return tuple(name.removesuffix("_us") for name, one, other in pairs if one != other and name != "normalised")


def _record(letter: DeadLetter) -> Record:
    record = letter.decoded
    if record is None:
        raise NoRecord(letter.id)
    return record


def _plain(record: Record) -> dict[str, Any]:
    """The fields of *record* as `json.loads` would give them."""
    # A time that is none is shown under its raw name, as it is.
    return {name.removesuffix("_us"): _jsonable(value) for name, value in shown(record).items()}


def _jsonable(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return value


def _refuse_unknown(record: Record, name: str) -> None:
    known = [field.removesuffix("_us") for field in record._fields]
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(known)}"
        raise InvalidRecord(name, name, f"{kind_of(record).name} has no such field; {hint}")
