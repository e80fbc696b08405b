"""What is written beside a dead record: the envelope, what a replay carries on of it, and which letters are alike."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, NamedTuple, Self

import msgpack

MOST_EDITS = 10
"""Remembered of one letter; the latest are."""


class Edit(NamedTuple):
    """That a letter's record was changed by hand."""

    at_ms: int
    fields: tuple[str, ...]
    """Their names, never their values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """Why a record was given up, when and by whom. What an older worker did not write is empty."""

    lane: str = ""
    record_kind: str = ""
    kind: str = ""
    """Of error."""
    reason: str = ""
    attempts: int = 0
    """With those before each replay."""
    first_at_ms: int | None = None
    """Of the first time that it was given up: a replay keeps it."""
    last_at_ms: int | None = None
    worker: str = ""
    version: str = ""
    """Of the Penstock that gave it up."""
    fingerprint: str = ""
    replays: int = 0
    """How often it was sent through the log again."""
    replayed_as: str = ""
    """Where it lay in the log the last time."""
    edits: tuple[Edit, ...] = ()

    def pack(self) -> bytes:
        """As it lies beside the record. Without what is empty, as nearly every letter was never replayed."""
        told = {name: value for name, value in asdict(self).items() if value not in ((), 0, "", None)}
        packed: bytes = msgpack.packb(told)
        return packed

    @classmethod
    def unpack(cls, packed: bytes) -> Self:
        """What `pack` wrote, by this release or another one."""
        found: Mapping[str, Any] = msgpack.unpackb(packed)
        known = {name: found[name] for name in _NAMES if name in found}
        known["edits"] = _edits(known.get("edits", ()))
        return cls(**known)

    def past(self, letter_id: str = "") -> Past:
        """What a replay carries on. *letter_id* is that of a letter that is no record, which has no other id."""
        return Past(self.first_at_ms, self.attempts, self.replays, self.edits, letter_id)

    def edited(self, edit: Edit) -> Self:
        """With one more edit."""
        return replace(self, edits=(*self.edits, edit)[-MOST_EDITS:])


_NAMES = tuple(each.name for each in fields(Envelope))


class Past(NamedTuple):
    """What a replayed record brings with it through the log, for the letter that it may become again."""

    first_at_ms: int | None = None
    attempts: int = 0
    replays: int = 0
    edits: tuple[Edit, ...] = ()
    letter_id: str = ""

    def pack(self) -> bytes:
        """As it lies in the log beside the frame."""
        packed: bytes = msgpack.packb(self._replace(replays=self.replays + 1)._asdict())
        return packed

    @classmethod
    def unpack(cls, packed: bytes) -> Past:
        """What `pack` wrote: with the replay that it was packed for."""
        found: Mapping[str, Any] = msgpack.unpackb(packed)
        known = {name: found[name] for name in cls._fields if name in found}
        return cls(**{**known, "edits": _edits(known.get("edits", ()))})


class Note(NamedTuple):
    """What is kept of one replay: why the letter was there, and what became of the replay before."""

    kind: str
    reason: str
    record_kind: str
    replayed_as: str
    """The replay before this one, of which it is known by now that it ended here."""
    edits: int
    at_ms: int

    @classmethod
    def of(cls, envelope: Envelope, at_ms: int) -> Self:
        """The note of a letter that leaves at *at_ms*."""
        edits = len(envelope.edits)
        return cls(envelope.kind, envelope.reason, envelope.record_kind, envelope.replayed_as, edits, at_ms)

    def pack(self) -> bytes:
        """As it is kept."""
        packed: bytes = msgpack.packb(self._asdict())
        return packed

    @classmethod
    def unpack(cls, packed: bytes) -> Self:
        """What `pack` wrote."""
        found: Mapping[str, Any] = msgpack.unpackb(packed)
        return cls(**{name: found[name] for name in cls._fields})


def fingerprint(lane: str, record_kind: str, error_kind: str, reason: str) -> str:
    """12 hexadecimal digits, the same for letters that have one cause."""
    alike = "\0".join((lane, record_kind, error_kind, likeness(reason)))
    return hashlib.blake2b(alike.encode(errors="replace"), digest_size=6).hexdigest()


def likeness(reason: str) -> str:
    """*reason* without what tells one record from another: ids, numbers, quoted parts."""
    for pattern, word in _PARTS:
        reason = pattern.sub(word, reason)
    return reason


_PARTS = (
    (re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"), "<id>"),
    # Not within words, or the text between two apostrophes would be taken for a quoted one.
    (re.compile(r"""(?<!\w)(['"`])(?:(?!\1).)*\1(?!\w)"""), "<text>"),
    (re.compile(r"\b(?:0x)?(?=[0-9a-fA-F]*\d)[0-9a-fA-F]{8,}\b"), "<id>"),
    (re.compile(r"\d+(?:[.,]\d+)*"), "<n>"),
)


def _edits(found: Iterable[Any]) -> tuple[Edit, ...]:
    return tuple(Edit(at_ms, tuple(names)) for at_ms, names in found)
