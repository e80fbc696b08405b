"""A producer and a store as small as a drain needs them, on a real queue server."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from penstock.stores.contract import Fence, Partial, Store, Trial
from penstock.stores.errors import StaleOwner
from penstock.wire.entries import Counts, Push
from penstock.wire.frames import encode, frames_of
from penstock.wire.ids import RisingClock, new_id
from penstock.wire.keys import Partition
from penstock.wire.queue import Queue
from penstock.wire.records import Message, Record, StreamChunk
from penstock.worker.drain import drain
from penstock.worker.fleet import Fleet
from penstock.worker.settings import WorkerConfig
from penstock.worker.site import Site, Stores

MESSAGES = Partition("messages", 0)


@dataclass
class ListStore:
    """Keeps what is written by id, with versions and epochs as the contract asks; does what `before` says first."""

    rows: dict[bytes, Record] = field(default_factory=dict)
    epoch: int = 0
    writes: list[list[Record]] = field(default_factory=list)
    before: Callable[[Sequence[Record]], Any] = lambda _: None

    async def setup(self, *, migrate: bool = True) -> None:
        return

    async def write(self, records: Sequence[Record], fence: Fence | None = None) -> int:
        self.before(records)
        if fence is not None:
            if fence.epoch < self.epoch:
                raise StaleOwner(fence.partition, fence.epoch, self.epoch)
            self.epoch = fence.epoch
        await asyncio.sleep(0)
        self.writes.append(list(records))
        for record in records:
            known = self.rows.get(record.id)
            if known is None or getattr(record, "version", 0) > getattr(known, "version", 0):
                self.rows[record.id] = record
        return len(records)

    async def rehearse(self, records: Sequence[Record]) -> Sequence[Trial]:
        self.before(records)
        return [Trial(is_new=record.id not in self.rows) for record in records]

    async def partials(self, ids: Sequence[bytes]) -> Mapping[bytes, Partial]:
        known = {one: self.rows[one] for one in ids if one in self.rows}
        return {
            one: Partial(row.content or "", row.version)
            for one, row in known.items()
            if isinstance(row, Message) and row.state in ("streaming", "interrupted")
        }

    async def check(self) -> None:
        return

    async def close(self) -> None:
        return

    def messages(self) -> list[Message]:
        return sorted(cast("list[Message]", list(self.rows.values())), key=lambda row: row.created_at_us)


class OneStore(Stores):
    """The same store for every lane."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def of(self, lane: str) -> Store:
        return self._store

    async def close(self) -> None:
        return


def site_of(queue: Queue, store: Store, **settings: Any) -> Site:
    config = WorkerConfig(namespace=queue.keys.namespace, **{"drain_linger_ms": 1, "lease_ms": 2_000, **settings})
    stores = OneStore(store)
    return Site(config=config, queue=queue, stores=stores, fleet=Fleet(queue, "w1"), rng=random.Random(1))


async def drain_all(queue: Queue, store: Store) -> None:
    """Once round all partitions that hold something."""
    config = WorkerConfig(namespace=queue.keys.namespace, drain_linger_ms=1)
    site = Site(config=config, queue=queue, stores=OneStore(store), fleet=Fleet(queue, "w1"), rng=random.Random(1))
    for partition in queue.all_partitions():
        if await queue.read(partition, 1):
            await drain(site, partition)


class Sender:
    """Pushes records of one partition as a producer would."""

    def __init__(self, queue: Queue, partition: Partition = MESSAGES) -> None:
        self.queue = queue
        self.partition = partition
        self.clock = RisingClock()
        self._producer_id = new_id().hex()
        self._number = 0

    async def push(self, *records: Record) -> None:
        self._number += 1
        frames = frames_of([encode(record) for record in records])
        pushed = await self.queue.push([Push(self.partition, self._producer_id, self._number, frames)], 10**6)
        assert not isinstance(pushed[0], Exception)

    def message(self, content: str = "hello", session: str = "s") -> Message:
        return Message(new_id(), self.clock.now_us(), session, "user", content)

    def chunks(self, texts: Sequence[str], end: str | None = "complete") -> list[StreamChunk]:
        stream, at = new_id(), self.clock.now_us()
        runs = [StreamChunk(new_id(), at, "s", "assistant", stream, seq, 1, text) for seq, text in enumerate(texts)]
        if end is not None:
            runs.append(StreamChunk(new_id(), at, "s", "assistant", stream, len(texts), 0, "", end))
        return runs


async def total(queue: Queue) -> Counts:
    return sum((await queue.counts()).values(), Counts())
