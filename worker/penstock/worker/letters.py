"""Dead letters as a worker writes them."""

from __future__ import annotations

from importlib.metadata import version

from penstock.wire.entries import Entry, Letter
from penstock.wire.frames import encode
from penstock.wire.ids import format_id, new_id
from penstock.wire.keys import Partition
from penstock.wire.letters import Envelope, Past, fingerprint
from penstock.wire.records import kind_of
from penstock.worker.poison import Refused

UNDECODABLE = "undecodable"
"""Error kind: the log's entry is no frame; the letter holds its bytes."""

_MAX_REASON_CHARS = 500
_VERSION = version("penstock")


class LetterWriter:
    """Makes the letters of one worker, for one partition."""

    __slots__ = ("_attempts", "_lane", "_now_ms", "_worker_id")

    def __init__(self, partition: Partition, worker_id: str, attempts: int, now_ms: int) -> None:
        self._lane = partition.lane
        self._worker_id = worker_id
        self._attempts = attempts
        self._now_ms = now_ms

    def refused(self, refused: Refused, records: int, came: Entry | None = None) -> Letter:
        """The letter of a record that will not be stored; it counts for that many accepted ones.

        *came* is the entry that a replay brought it in.
        """
        record = refused.record
        envelope = self._envelope(refused.kind, refused.reason, kind_of(record).name, came)
        return Letter(format_id(record.id), records, encode(record, limit_bytes=None), envelope)

    def undecodable(self, entry: Entry, reason: str) -> Letter:
        """The letter of an entry that is no frame. It gets an id of its own, since its records' are unknown."""
        envelope = self._envelope(UNDECODABLE, reason, "frame", entry)
        letter_id = _past(entry).letter_id or format_id(new_id())
        return Letter(letter_id, entry.records, entry.frame, envelope)

    def _envelope(self, kind: str, reason: str, record_kind: str, came: Entry | None) -> bytes:
        past = _past(came)
        return Envelope(
            lane=self._lane,
            record_kind=record_kind,
            kind=kind,
            reason=reason if len(reason) <= _MAX_REASON_CHARS else f"{reason[:_MAX_REASON_CHARS]}…",
            attempts=past.attempts + self._attempts,
            first_at_ms=self._now_ms if past.first_at_ms is None else past.first_at_ms,
            last_at_ms=self._now_ms,
            worker=self._worker_id,
            version=_VERSION,
            fingerprint=fingerprint(self._lane, record_kind, kind, reason),
            replays=past.replays,
            replayed_as=came.id if came and came.past else "",
            edits=past.edits,
        ).pack()


def _past(came: Entry | None) -> Past:
    return Past.unpack(came.past) if came and came.past else Past()
