"""Short words for what the queue's tests do again and again."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from penstock.wire.entries import Commit, Entry, Holder, Lease, Letter, Push, Pushed
from penstock.wire.frames import Frame
from penstock.wire.keys import Partition
from penstock.wire.marks import Mark
from penstock.wire.queue import Queue

WHERE = Partition("messages", 0)
NO_CAP = 10**9
TTL_MS = 60_000

_tokens = (f"token-{number}" for number in itertools.count())


class Sender:
    """A producer: numbers its pushes to one partition."""

    def __init__(self, queue: Queue, where: Partition = WHERE, producer_id: str = "p1", cap: int = NO_CAP) -> None:
        self.queue = queue
        self.where = where
        self.producer_id = producer_id
        self.cap = cap
        self.number = 0

    async def push(self, *sizes: int, marks: Sequence[Mark] = ()) -> Pushed:
        """Frames that count for *sizes* records, under the next number. Raises what kept them out."""
        self.number += 1
        return await self.again(*sizes, marks=marks)

    async def again(self, *sizes: int, marks: Sequence[Mark] = ()) -> Pushed:
        """The same, under the last number."""
        (pushed,) = await self.queue.push([self._push(sizes, marks)], self.cap)
        if isinstance(pushed, Exception):
            raise pushed
        return pushed

    async def claim(self, mark: Mark) -> Pushed | Holder:
        """A claim of one record, under the next number."""
        self.number += 1
        return await self.claim_again(mark)

    async def claim_again(self, mark: Mark) -> Pushed | Holder:
        """The same, under the last number."""
        return await self.queue.claim(self._push([1], [mark]), self.cap)

    def _push(self, sizes: Sequence[int], marks: Sequence[Mark]) -> Push:
        frames = [Frame(f"{self.producer_id}/{self.number}/{at}".encode(), size) for at, size in enumerate(sizes)]
        return Push(self.where, self.producer_id, self.number, frames, marks)


def mark(number: int, key: str = "k", expires_at_us: int | None = None) -> Mark:
    """The mark of a key under the stamp with that number."""
    return Mark("default", key, number.to_bytes(16, "big"), expires_at_us)


async def owned(queue: Queue, where: Partition = WHERE) -> Lease:
    """The lease of a partition that nobody has."""
    lease = await queue.acquire(where, TTL_MS)
    assert lease is not None
    return lease


async def expire(queue: Queue, where: Partition = WHERE) -> None:
    """End the lease as its time would."""
    await queue.client.delete(queue.keys.lease(where))


def settling(lease: Lease, entries: Sequence[Entry], **given: Any) -> Commit:
    """A commit of *entries*; what is not given as dead or buffered is stored."""
    given.setdefault("token", next(_tokens))
    records = sum(entry.records for entry in entries)
    stored = given.pop("stored", records - given.get("dead", 0) - given.get("buffered", 0))
    last = entries[-1] if entries else Entry("", b"", 0)
    return Commit(lease=lease, last_id=last.id, last_frame=last.frame, records=records, stored=stored, **given)


def letter(record_id: str, records: int = 1) -> Letter:
    """A dead letter whose parts can be told apart."""
    return Letter(record_id, records, f"record {record_id}".encode(), b"\x81\xa6reason\xa4" + record_id.encode()[:4])


async def meta(queue: Queue, where: Partition = WHERE) -> dict[str, str]:
    """The partition's hash as it lies in the server."""
    return {key.decode(): value.decode() for key, value in (await queue.client.hgetall(queue.keys.meta(where))).items()}


async def everything(queue: Queue) -> dict[str, Any]:
    """All that the namespace holds, to see that nothing has changed."""
    held: dict[str, Any] = {}
    readers = {
        b"string": queue.client.get,
        b"hash": queue.client.hgetall,
        b"stream": queue.client.xrange,
        b"list": lambda key: queue.client.lrange(key, 0, -1),
        b"set": queue.client.smembers,
        b"zset": lambda key: queue.client.zrange(key, 0, -1, withscores=True),
    }
    async for key in queue.client.scan_iter(match=f"{queue.keys.namespace}:*", count=1000):
        held[key.decode()] = await readers[await queue.client.type(key)](key)
    return held
