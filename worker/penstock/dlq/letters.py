"""Dead letters as they are seen: what was refused, why, when, by whom."""

from __future__ import annotations

import array
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

import msgpack

from penstock.wire.entries import DeadEntry
from penstock.wire.errors import FrameError, PenstockError
from penstock.wire.frames import decode
from penstock.wire.ids import format_id, from_us, parse_id
from penstock.wire.queue import Queue
from penstock.wire.records import LANES, Record
from penstock.wire.text import load_object, load_value

UNDECODABLE = "undecodable"
"""Error kind: the letter holds the bytes of a whole entry of the log that is no frame."""

_PAGE = 50
"""Letters read at once. A record has at most 8 MB, most have a few hundred bytes."""

_SHOWN_BYTES = 256


class UnknownLane(PenstockError, ValueError):
    """No lane has this name."""


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
    attempts: int
    first_at: datetime | None
    last_at: datetime | None
    worker: str
    version: str
    """Of the Penstock that gave it up."""
    entry: DeadEntry
    """As it lies in the queue."""

    @classmethod
    def of(cls, entry: DeadEntry) -> Self:
        """The letter of *entry*; what an older worker did not write is empty."""
        envelope: Mapping[str, Any] = msgpack.unpackb(entry.letter.envelope)
        return cls(
            id=entry.letter.record_id,
            lane=entry.partition.lane,
            partition=entry.partition.number,
            records=entry.letter.records,
            record_kind=envelope.get("record_kind", ""),
            error_kind=envelope.get("kind", ""),
            reason=envelope.get("reason", ""),
            attempts=envelope.get("attempts", 0),
            first_at=_time(envelope.get("first_at_ms")),
            last_at=_time(envelope.get("last_at_ms")),
            worker=envelope.get("worker", ""),
            version=envelope.get("version", ""),
            entry=entry,
        )

    @property
    def record(self) -> dict[str, Any]:
        """The record, for showing: ids as text, times as `datetime`, JSON decoded, a vector as a list.

        A letter that is no record, or that this code is too old for, shows its size and its first bytes.
        """
        body = self.entry.letter.record
        if self.error_kind != UNDECODABLE:
            try:
                return _shown(decode(body))
            except FrameError:
                pass
        return {"bytes": len(body), "starts_with": body[:_SHOWN_BYTES].hex(" ")}


async def list_letters(
    queue: Queue, lane: str | None = None, error_kind: str | None = None, limit: int | None = None
) -> AsyncIterator[DeadLetter]:
    """Dead letters, oldest first within each partition; those that came after the call began are left out.

    Holds a page in memory, never all.

    Raises:
        UnknownLane: *lane* is none.
        QueueUnavailable: No answer.
    """
    if lane is not None and lane not in LANES:
        raise UnknownLane(f"no lane is called {lane!r}; known are {', '.join(LANES)}")
    found = 0
    async for entry in _entries(queue, lane):
        letter = DeadLetter.of(entry)
        if error_kind is None or letter.error_kind == error_kind:
            if found == limit:
                return
            found += 1
            yield letter


async def _entries(queue: Queue, lane: str | None) -> AsyncIterator[DeadEntry]:
    # The ends are taken first: a letter that is replayed and dies again at once must not be met twice.
    wheres = [where for where in queue.all_partitions() if lane in (None, where.lane)]
    ends = {where: await queue.newest_letter(where) for where in wheres}
    for where, end in ends.items():
        after = "-"
        while end and (page := await queue.dead_letters(where, _PAGE, after, end)):
            for entry in page:
                yield entry
            after = page[-1].entry_id


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


def _vector(value: bytes) -> list[float]:
    floats = array.array("f", value)
    if sys.byteorder == "big":
        floats.byteswap()
    return floats.tolist()


def _stamp(value: bytes) -> str:
    return value.hex()


_SHOW: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("id", "stream_id", "message_id"), format_id),
    **dict.fromkeys(("stamp", "status_stamp"), _stamp),
    **dict.fromkeys(("metadata", "data", "fields", "stats"), load_object),
    **dict.fromkeys(("result", "value"), load_value),
    "vector": _vector,
}


def _shown(record: Record) -> dict[str, Any]:
    return dict(_field(name, value) for name, value in record._asdict().items() if value is not None)


def _field(name: str, value: Any) -> tuple[str, Any]:
    """A field for showing; as it is where it is not what it should be, which may be why the record was refused."""
    shown, show = (name.removesuffix("_us"), from_us) if name.endswith("_us") else (name, _SHOW.get(name))
    try:
        return shown, value if show is None else show(value)
    except (ValueError, TypeError, OverflowError):
        return name, value.decode(errors="replace") if isinstance(value, bytes) else value
