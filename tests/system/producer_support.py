"""A worker as small as a producer's test needs, and what a namespace's logs hold."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator

import msgpack

from penstock.wire.entries import Commit, Letter
from penstock.wire.errors import QueueUnavailable
from penstock.wire.frames import decode_frame, encode
from penstock.wire.ids import format_id
from penstock.wire.keys import Partition
from penstock.wire.queue import Queue
from penstock.wire.records import Message, Record
from penstock.wire.tasks import end_task

BAD = "refuse me"
"""The worker makes a dead letter of a message with this content."""


class SmallWorker:
    """Drains every partition, again and again; keeps what it committed."""

    def __init__(self, queue: Queue) -> None:
        self.stored: list[Record] = []
        self._queue = queue

    def contents(self, session: str) -> list[str | None]:
        return [one.content for one in self.stored if isinstance(one, Message) and one.session_id == session]

    async def drain(self, partition: Partition) -> None:
        lease = await self._queue.acquire(partition, ttl_ms=10_000)
        if lease is None:
            return
        entries = await self._queue.read(partition, 100)
        if entries:
            records = [record for entry in entries for record in decode_frame(entry.frame)]
            dead = [record for record in records if getattr(record, "content", "") == BAD]
            commit = Commit(
                lease=lease,
                token=uuid.uuid4().hex,
                last_id=entries[-1].id,
                last_frame=entries[-1].frame,
                records=len(records),
                stored=len(records) - len(dead),
                dead=len(dead),
                letters=[_letter(record) for record in dead],
            )
            if await self._queue.commit(commit):
                self.stored += [record for record in records if record not in dead]
        await self._queue.release(lease)

    async def drain_all(self) -> None:
        """Once round all partitions."""
        for partition in self._queue.all_partitions():
            await self.drain(partition)

    async def run(self) -> None:
        """Whenever the bell rings, and now and then."""
        while True:
            with contextlib.suppress(QueueUnavailable):
                await self._queue.heard(0.02)
                await self.drain_all()


def _letter(record: Record) -> Letter:
    envelope = msgpack.packb({"kind": "rejected", "reason": "the test says so"})
    return Letter(format_id(record.id), 1, encode(record), envelope)


@contextlib.asynccontextmanager
async def working(queue: Queue) -> AsyncIterator[SmallWorker]:
    worker = SmallWorker(queue)
    task = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        await end_task(task)


async def held(queue: Queue) -> list[Record]:
    """Every record in the logs, partition by partition, in order."""
    found: list[Record] = []
    for partition in queue.all_partitions():
        for entry in await queue.read(partition, 10**6):
            found += decode_frame(entry.frame)
    return found


async def contents(queue: Queue, session: str) -> list[str | None]:
    return [one.content for one in await held(queue) if isinstance(one, Message) and one.session_id == session]
