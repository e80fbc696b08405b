"""Dead letters as they are seen: what was refused, why, when, by whom."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Self

from penstock.dlq.selection import Selection
from penstock.dlq.showing import shown
from penstock.wire.entries import DeadEntry
from penstock.wire.errors import FrameError
from penstock.wire.frames import Frame, decode, frame_of
from penstock.wire.ids import format_id, from_us, parse_id
from penstock.wire.letters import Envelope, fingerprint
from penstock.wire.queue import Queue
from penstock.wire.records import Record

UNDECODABLE = "undecodable"
"""Error kind: the letter holds the bytes of a whole entry of the log that is no frame."""

FIRST_PAGE, _LARGEST_PAGE = 16, 500
_PAGE_BYTES = 4 * 1024 * 1024
"""Letters read at once. A record has at most 8 MB, most have a few hundred bytes."""

_SHOWN_BYTES = 256


class Edited(NamedTuple):
    """That a letter's record was changed by hand."""

    at: datetime
    fields: Sequence[str]
    """Their names. The values before are kept nowhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """One record that was given up, and why."""

    id: str
    """The record's id, which it keeps when it is replayed. A letter that is no record has an id of its own."""
    lane: str
    partition: int
    records: int
    """How many accepted records the letter counts for: a stream's message stands for all its chunks."""
    record_kind: str
    error_kind: str
    reason: str
    fingerprint: str
    """The same for letters that have one cause: see `groups`."""
    attempts: int
    """Of all replays together."""
    replays: int
    """How often it was replayed before."""
    edits: Sequence[Edited]
    """The latest ten."""
    first_at: datetime | None
    """When it was given up first, before any replay."""
    last_at: datetime | None
    worker: str
    version: str
    """Of the Penstock that gave it up."""
    entry: DeadEntry
    """As it lies in the queue."""

    @classmethod
    def of(cls, entry: DeadEntry) -> Self:
        """The letter of *entry*; what an older worker did not write is empty."""
        envelope = Envelope.unpack(entry.letter.envelope)
        lane, kind = entry.partition.lane, envelope.record_kind
        return cls(
            id=entry.letter.record_id,
            lane=lane,
            partition=entry.partition.number,
            records=entry.letter.records,
            record_kind=kind,
            error_kind=envelope.kind,
            reason=envelope.reason,
            fingerprint=envelope.fingerprint or fingerprint(lane, kind, envelope.kind, envelope.reason),
            attempts=envelope.attempts,
            replays=envelope.replays,
            edits=tuple(Edited(from_us(each.at_ms * 1000), each.fields) for each in envelope.edits),
            first_at=_time(envelope.first_at_ms),
            last_at=_time(envelope.last_at_ms),
            worker=envelope.worker,
            version=envelope.version,
            entry=entry,
        )

    @property
    def envelope(self) -> Envelope:
        """What lies beside the record."""
        return Envelope.unpack(self.entry.letter.envelope)

    @property
    def decoded(self) -> Record | None:
        """The record itself; None where the letter is none, or is one that this code is too old for."""
        if self.error_kind == UNDECODABLE:
            return None
        try:
            return decode(self.entry.letter.record)
        except FrameError:
            return None

    @property
    def record(self) -> dict[str, Any]:
        """The record, for showing: ids as text, times as `datetime`, JSON decoded, a vector as a list.

        A letter that is no record, or that this code is too old for, shows its size and its first bytes.
        """
        record = self.decoded
        if record is None:
            body = self.entry.letter.record
            return {"bytes": len(body), "starts_with": body[:_SHOWN_BYTES].hex(" ")}
        return shown(record)

    @property
    def session_id(self) -> str | None:
        """The session that the record is of, where it is of one."""
        return getattr(self.decoded, "session_id", None)

    @property
    def frame(self) -> Frame:
        """What a replay appends to the log."""
        body = self.entry.letter.record
        # Bytes that were no frame go back as they came: a worker that can read them by now will.
        return Frame(body, self.records) if self.error_kind == UNDECODABLE else frame_of([body], self.records)


async def list_letters(
    queue: Queue,
    lane: str | None = None,
    error_kind: str | None = None,
    limit: int | None = None,
    *,
    group: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    session: str | None = None,
) -> AsyncIterator[DeadLetter]:
    """Dead letters, oldest first within each partition; those that came after the call began are left out.

    Of a group (`DeadLetter.fingerprint`, or its first characters), given up between *since* and *until*, of a session.
    Holds a page in memory, never all.

    Raises:
        UnknownLane: *lane* is none.
        InvalidRecord: A time names no zone.
        QueueUnavailable: No answer.
    """
    which = Selection(lane=lane, error_kind=error_kind, group=group, since=since, until=until, session=session)
    async for letter in selected(queue, which, limit):
        yield letter


async def selected(queue: Queue, which: Selection, limit: int | None = None) -> AsyncIterator[DeadLetter]:
    """See `list_letters`."""
    found = 0
    async for entry in _entries(queue, which.lane):
        letter = DeadLetter.of(entry)
        if which.takes(letter):
            if found == limit:
                return
            found += 1
            yield letter


async def _entries(queue: Queue, lane: str | None) -> AsyncIterator[DeadEntry]:
    # The ends are taken first: a letter that is replayed and dies again at once must not be met twice.
    wheres = [where for where in queue.all_partitions() if lane in (None, where.lane)]
    ends = {where: await queue.newest_letter(where) for where in wheres}
    count = FIRST_PAGE
    for where, end in ends.items():
        after = "-"
        while end and (page := await queue.dead_letters(where, count, after, end)):
            for entry in page:
                yield entry
            after, count = page[-1].entry_id, next_page(page)


def next_page(page: Sequence[DeadEntry]) -> int:
    """How many letters are read after *page*: as many like those as fit, and no more than twice as many at a time."""
    size = sum(len(entry.letter.record) for entry in page) // len(page)
    return max(1, min(_LARGEST_PAGE, 2 * len(page), _PAGE_BYTES // max(1, size)))


async def find(queue: Queue, record_id: object) -> DeadLetter | None:
    """The newest dead letter of a record; None when it has none.

    Raises:
        InvalidRecord: *record_id* is no UUID.
        QueueUnavailable: No answer.
    """
    entry = await queue.dead_letter(format_id(parse_id(record_id)))
    return None if entry is None else DeadLetter.of(entry)


def _time(at_ms: int | None) -> datetime | None:
    return None if at_ms is None else from_us(at_ms * 1000)
