"""Dead letters, made in one line."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from penstock.wire.entries import Letter, Push
from penstock.wire.frames import Frame, encode
from penstock.wire.ids import format_id
from penstock.wire.keys import Partition
from penstock.wire.letters import Envelope
from penstock.wire.queue import Queue
from penstock.wire.records import Record, kind_of
from tests.system.queue_support import settling

DIED_MS = 1_700_000_001_000


def letter(record: Record, kind: str = "rejected", records: int = 1, **envelope: Any) -> Letter:
    """The letter of *record*, as a worker would have written it."""
    told = {
        "kind": kind,
        "reason": "no such table",
        "lane": kind_of(record).lane,
        "record_kind": kind_of(record).name,
        "attempts": 3,
        "first_at_ms": DIED_MS - 1_000,
        "last_at_ms": DIED_MS,
        "worker": "host:1",
        "version": "0.1.0",
        **envelope,
    }
    return Letter(format_id(record.id), records, encode(record), Envelope(**told).pack())


async def bury(queue: Queue, where: Partition, letters: Iterable[Letter]) -> None:
    """Have a partition accept records and give all of them up, as a worker does."""
    letters = list(letters)
    frames = [Frame(b"whatever", each.records) for each in letters]
    await queue.push([Push(where, uuid.uuid4().hex, 1, frames)], 10**6)
    lease = await queue.acquire(where, 10_000)
    assert lease is not None
    entries = await queue.read(where, 100_000)
    assert await queue.commit(settling(lease, entries, dead=sum(each.records for each in letters), letters=letters))
    await queue.release(lease)


async def bury_records(queue: Queue, records: Sequence[Record], **envelope: Any) -> None:
    """The letters of *records*, each in the first partition of its lane."""
    for lane in dict.fromkeys(kind_of(record).lane for record in records):
        of_lane = [letter(record, **envelope) for record in records if kind_of(record).lane == lane]
        await bury(queue, Partition(lane, 0), of_lane)
