"""A failover of the queue server: the replica lacks what was written last, and gives its ids to others."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from penstock.embedded import EmbeddedQueue
from penstock.wire.queue import Queue
from tests.system.drain_support import MESSAGES, ListStore, Sender, drain_all, total
from tests.system.queue_support import owned, settling

TTL_MS = 60_000


@dataclass
class Pair:
    """A primary and its replica, and one namespace seen on both."""

    primary: EmbeddedQueue
    replica: EmbeddedQueue
    before: Queue
    after: Queue

    async def promote(self) -> None:
        """Have the replica be a primary of its own: what the other takes from here on is lost."""
        await self.before.client.wait(1, 10_000)
        await self.after.client.replicaof("NO", "ONE")


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[tuple[EmbeddedQueue, EmbeddedQueue]]:
    with EmbeddedQueue(tmp_path / "primary") as primary, EmbeddedQueue(tmp_path / "replica") as replica:
        yield primary, replica


@pytest.fixture
async def pair(servers: tuple[EmbeddedQueue, EmbeddedQueue], namespace: str) -> AsyncIterator[Pair]:
    primary, replica = servers
    async with AsyncExitStack() as stack:
        before = await stack.enter_async_context(Queue(primary.url, namespace))
        # Ids go by the server's clock unless the log's last one is above it: so those of both servers are the same,
        # as where the new primary's clock is behind.
        await before.client.xadd(before.keys.log(MESSAGES), {"f": b""}, id="99999999999999-0")
        await before.client.xtrim(before.keys.log(MESSAGES), maxlen=0)
        await before.client.config_set("repl-diskless-sync-delay", 0)
        with replica.client() as client:
            client.replicaof("127.0.0.1", primary.port)
        assert await before.client.wait(1, 10_000) == 1
        after = await stack.enter_async_context(Queue(replica.url, namespace))
        yield Pair(primary, replica, before, after)


async def test_a_commit_of_what_the_failover_lost_trims_nothing_of_what_has_its_ids(pair: Pair) -> None:
    lease = await owned(pair.before)
    await pair.promote()
    old, new = Sender(pair.before), Sender(pair.after)
    await old.push(old.message("lost with the primary"))
    await new.push(new.message("accepted by the new one"))
    read = await pair.before.read(MESSAGES, 10)
    (accepted,) = await pair.after.read(MESSAGES, 10)
    assert read[-1].id == accepted.id

    applied = await pair.after.commit(settling(lease, read))

    assert not applied
    assert await pair.after.read(MESSAGES, 10) == [accepted]
    assert (await total(pair.after)).balanced


async def test_an_owner_whose_lease_was_lost_in_a_failover_is_refused_beside_the_next_one(pair: Pair) -> None:
    await pair.promote()
    lost = await owned(pair.before)
    sender = Sender(pair.after)
    await sender.push(sender.message("one"))
    await sender.push(sender.message("two"))
    entries = await pair.after.read(MESSAGES, 10)
    lease = await owned(pair.after)
    assert lease.epoch > lost.epoch

    assert await pair.after.commit(settling(lease, entries[:1]))
    assert not await pair.after.renew(lost, TTL_MS)
    assert not await pair.after.commit(settling(lost, entries))

    assert await pair.after.read(MESSAGES, 10) == entries[1:]
    assert (await total(pair.after)).balanced


async def test_a_failover_under_a_drain_loses_nothing_that_the_new_primary_accepted(pair: Pair) -> None:
    store, sender = ListStore(), Sender(pair.before)
    first, lost, accepted = (sender.message(text) for text in ("replicated", "stored, then lost", "of the new one"))
    await sender.push(first)
    lease = await owned(pair.before)
    await pair.promote()
    await sender.push(lost)
    await pair.before.release(lease)
    await drain_all(pair.before, store)  # the old primary's last deed
    sender.queue = pair.after
    await sender.push(accepted)
    await pair.after.release(lease)

    await drain_all(pair.after, store)

    assert store.messages() == [first, lost, accepted]
    counts = await total(pair.after)
    assert (counts.accepted, counts.stored, counts.pending, counts.balanced) == (2, 2, 0, True)


async def test_an_owner_whose_log_is_another_one_keeps_nobody_waiting(queue: Queue) -> None:
    """Its lease came along with the failover, and would last until its time is over."""
    sender = Sender(queue)
    await sender.push(sender.message("lost with the primary"))
    (read,) = await queue.read(MESSAGES, 10)

    def fail_over(_: object) -> None:
        with redis.Redis.from_url(queue.scripts.url) as server:
            server.delete(queue.keys.log(MESSAGES))
            server.xadd(queue.keys.log(MESSAGES), {"f": b"of the new one", "n": 1}, id=read.id)

    await drain_all(queue, ListStore(before=fail_over))

    assert [entry.frame for entry in await queue.read(MESSAGES, 10)] == [b"of the new one"]
    assert await owned(queue)
