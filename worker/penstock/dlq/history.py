"""What became of each replay: stored, dead again, or still on its way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from penstock.dlq.selection import Selection
from penstock.wire.entries import ReplayNote, position
from penstock.wire.ids import format_id, from_us, parse_id
from penstock.wire.keys import Partition
from penstock.wire.letters import Envelope, Note
from penstock.wire.queue import Queue

_PAGE = 100
"""Notes read at once; the server looks at as many letters, each in full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """One replay of one letter."""

    id: str
    """The letter's."""
    lane: str
    partition: int
    record_kind: str
    at: datetime
    edited: bool
    """Whether the record had been edited before."""
    was: str
    """Why the letter was there: error kind and reason."""
    outcome: Literal["stored", "dead", "pending"]
    """`stored` too where the worker's strategy left the record out; `pending` while it lies in the log."""
    reason: str = ""
    """Of one that is dead again: error kind and reason."""


async def history(
    queue: Queue, record_id: object = None, *, lane: str | None = None, limit: int | None = None
) -> AsyncIterator[Replayed]:
    """What was replayed, the newest first within each partition, and what became of it. Of one record, or of all.

    Each partition remembers about its last 5,000 replays.

    Raises:
        InvalidRecord, UnknownLane: *record_id* is no UUID, *lane* is none.
        QueueUnavailable: No answer.
    """
    wanted = None if record_id is None else format_id(parse_id(record_id))
    which = Selection(lane=lane)
    found = 0
    for where in queue.all_partitions():
        if which.lane not in (None, where.lane):
            continue
        async for each in _of_partition(queue, where):
            if wanted in (None, each.id):
                if found == limit:
                    return
                found += 1
                yield each


async def _of_partition(queue: Queue, where: Partition) -> AsyncIterator[Replayed]:
    dead: dict[str, str] = {}
    """Why a replay ended among the letters, by the place that it had in the log."""
    before = "+"
    while page := await queue.replay_notes(where, _PAGE, before):
        before = page[-1].id
        # In this order: what is settled by then has its letter already.
        upto = position((await queue.settled_upto([where]))[where])
        envelopes = await queue.envelopes(where, list({each.record_id for each in page}))
        for envelope in map(Envelope.unpack, envelopes.values()):
            if envelope.replayed_as:
                dead[envelope.replayed_as] = _why(envelope.kind, envelope.reason)
        for each in page:
            note = Note.unpack(each.note)
            if each.replayed_as:
                yield _replayed(where, each, note, dead.pop(each.replayed_as, None), upto)
            if note.replayed_as:  # older than this note, so it is met next
                dead[note.replayed_as] = _why(note.kind, note.reason)


def _replayed(where: Partition, each: ReplayNote, note: Note, died: str | None, upto: tuple[int, int]) -> Replayed:
    is_settled = position(each.replayed_as) <= upto
    return Replayed(
        id=each.record_id,
        lane=where.lane,
        partition=where.number,
        record_kind=note.record_kind,
        at=from_us(note.at_ms * 1000),
        edited=note.edits > 0,
        was=_why(note.kind, note.reason),
        outcome="dead" if died is not None else "stored" if is_settled else "pending",
        reason=died or "",
    )


def _why(kind: str, reason: str) -> str:
    return f"{kind}: {reason}" if reason else kind
