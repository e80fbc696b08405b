"""One slice of a drain on a real queue server: what is stored, counted, buried and handed on."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from penstock.stores.contract import Fence
from penstock.stores.errors import SchemaTooOld, StaleOwner, StoreRejected
from penstock.stores.preparing import Prepared
from penstock.wire.entries import Commit, Entry, Push
from penstock.wire.errors import QueueUnavailable
from penstock.wire.frames import Frame, encode, frame_of
from penstock.wire.queue import Queue
from penstock.wire.records import Message, Record
from penstock.worker.drain import LaneWaits, drain
from penstock.worker.fleet import Busy
from tests.system.drain_support import MESSAGES, ListStore, Sender, site_of, total


async def test_a_slice_stores_everything_in_order_and_the_audit_adds_up(queue: Queue) -> None:
    store, sender = ListStore(), Sender(queue)
    sent = [sender.message(str(n)) for n in range(300)]
    for at in range(0, 300, 7):
        await sender.push(*sent[at : at + 7])

    moved = await drain(site_of(queue, store, batch_records=50), MESSAGES)

    assert moved is not None
    assert (moved.records, moved.stored, moved.generation) == (300, 300, 0)
    assert [record for batch in store.writes for record in batch] == sent
    assert all(len(batch) <= 50 for batch in store.writes)
    counts = await total(queue)
    assert (counts.accepted, counts.stored, counts.pending, counts.balanced) == (300, 300, 0, True)


@pytest.mark.parametrize(
    ("entries", "reads"),
    [pytest.param(3, [1], id="all was read"), pytest.param(20, [2, 2], id="more waits")],
)
async def test_the_next_batch_is_read_during_a_write_only_where_more_waits(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, entries: int, reads: list[int]
) -> None:
    """What comes to a log that was read to its end is in the next commit, up to when that begins."""
    read, begun, found = queue.read, 0, []

    async def counted(*given: Any) -> list[Entry]:
        nonlocal begun
        begun += 1
        return await read(*given)

    class Watching(ListStore):
        async def write(self, records: Sequence[Record], fence: Fence | None = None) -> int:
            new = await super().write(records, fence)
            found.append(begun)
            return new

    monkeypatch.setattr(queue, "read", counted)
    store, sender = Watching(), Sender(queue)
    for number in range(entries):
        await sender.push(sender.message(str(number)))

    await drain(site_of(queue, store), MESSAGES)

    assert found == reads
    assert len(store.rows) == entries


async def test_a_held_partition_is_left_to_its_owner(queue: Queue) -> None:
    await queue.acquire(MESSAGES, 5_000)

    assert await drain(site_of(queue, ListStore()), MESSAGES) is None


async def test_a_worker_that_stops_takes_nothing_more(queue: Queue) -> None:
    site = site_of(queue, ListStore())
    site.fleet.stopping.set()

    with pytest.raises(Busy, match="stopping"):
        await drain(site, MESSAGES)


async def test_a_worker_takes_no_more_of_a_lane_than_its_share(queue: Queue) -> None:
    fleet = site_of(queue, ListStore()).fleet
    await queue.heartbeat("another", 10_000)
    await fleet.beat()
    assert fleet.share == 5, "half of 8 partitions, and one"

    with contextlib.ExitStack() as held:
        for _ in range(5):
            held.enter_context(fleet.taking("messages"))
        with pytest.raises(Busy, match="share is 5"), fleet.taking("messages"):
            pass
        with fleet.taking("logs"):
            pass
    with fleet.taking("messages"):
        pass


async def test_what_the_store_has_no_place_for_yet_waits_alone_and_longer_each_time(queue: Queue) -> None:
    def lacking(_: Sequence[Record]) -> None:
        raise SchemaTooOld("run penstock migrate")

    store, sender = ListStore(before=lacking), Sender(queue)
    await sender.push(sender.message())
    site = site_of(queue, store)

    for failures in (1, 2, 3):
        with pytest.raises(LaneWaits) as caught:
            await drain(site, MESSAGES)
        assert caught.value.failures == failures
    store.before = lambda _: None
    await drain(site, MESSAGES)

    assert len(store.rows) == 1
    lease = await queue.acquire(MESSAGES, 1_000)
    assert lease is not None
    assert lease.fails == 0, "a success forgets the failures"


async def test_a_poison_record_is_buried_with_its_reason_and_the_others_are_stored(queue: Queue) -> None:
    def refuse(records: Sequence[Record]) -> None:
        if any(isinstance(record, Message) and record.content == "poison" for record in records):
            raise StoreRejected("content is poison")

    store, sender = ListStore(before=refuse), Sender(queue)
    sent = [sender.message("poison" if n == 617 else str(n)) for n in range(1000)]
    await sender.push(*sent)

    moved = await drain(site_of(queue, store), MESSAGES)

    assert moved is not None
    assert (moved.stored, moved.dead) == (999, 1)
    assert store.messages() == [message for message in sent if message.content != "poison"]
    letters = await queue.client.xrange(queue.keys.dead(MESSAGES))
    assert len(letters) == 1
    assert b"content is poison" in letters[0][1][b"e"]
    counts = await total(queue)
    assert (counts.accepted, counts.stored, counts.dead, counts.balanced) == (1000, 999, 1, True)


async def test_an_entry_that_is_no_frame_is_buried_and_its_neighbours_are_stored(queue: Queue) -> None:
    store, sender = ListStore(), Sender(queue)
    await sender.push(sender.message("before"))
    await queue.push([Push(MESSAGES, "q", 1, [Frame(b"\x01garbage", 3)])], 100)
    await sender.push(sender.message("after"))

    moved = await drain(site_of(queue, store), MESSAGES)

    assert moved is not None
    assert (moved.stored, moved.dead) == (2, 3)
    assert [message.content for message in store.messages()] == ["before", "after"]
    assert (await total(queue)).balanced


async def test_a_frame_from_a_newer_producer_waits_for_an_upgraded_worker(queue: Queue) -> None:
    await queue.push([Push(MESSAGES, "q", 1, [Frame(b"\x03\x90", 1)])], 100)

    with pytest.raises(LaneWaits, match="upgrade the worker"):
        await drain(site_of(queue, ListStore()), MESSAGES)

    assert (await total(queue)).pending == 1


async def test_what_only_a_foreign_producer_sends_blocks_its_partition_alone(queue: Queue) -> None:
    sender = Sender(queue)
    (chunk,) = sender.chunks([], end="evaporated")
    await sender.push(chunk)

    with pytest.raises(LaneWaits):
        await drain(site_of(queue, ListStore()), MESSAGES)

    counts = await total(queue)
    assert (counts.pending, counts.leased, counts.balanced) == (1, 0, True)


async def test_an_entry_that_counts_for_nothing_is_settled_all_the_same(queue: Queue) -> None:
    store, sender = ListStore(), Sender(queue)
    await queue.push([Push(MESSAGES, "q", 1, [frame_of([encode(sender.message("hello"))], count=0)])], 100)

    moved = await drain(site_of(queue, store), MESSAGES)

    assert moved is not None
    assert moved.generation == 0
    assert [message.content for message in store.messages()] == ["hello"]


async def test_crash_between_write_and_commit_loses_nothing(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order of write and commit in `drain`: a commit that never happens delivers again, once more harmlessly."""
    store, sender = ListStore(), Sender(queue)
    sent = [sender.message(str(n)) for n in range(10)]
    await sender.push(*sent)

    class Killed(BaseException):
        pass

    async def die(_: Commit) -> bool:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(queue, "commit", die)
        with pytest.raises(Killed):
            await drain(site_of(queue, store, lease_ms=50), MESSAGES)
    assert store.messages() == sent, "written before the commit"
    await _until_free(queue)
    await drain(site_of(queue, store), MESSAGES)

    assert store.messages() == sent
    counts = await total(queue)
    assert (counts.stored, counts.pending, counts.balanced) == (10, 0, True)


async def test_an_owner_that_lost_its_lease_settles_nothing(queue: Queue) -> None:
    store, sender = ListStore(), Sender(queue)
    await sender.push(sender.message("one"))
    real_commit = queue.commit

    async def commit_after_theft(commit: Commit) -> bool:
        await queue.client.set(queue.keys.lease(MESSAGES), "999", px=1000)
        return await real_commit(commit)

    queue.commit = commit_after_theft  # type: ignore[method-assign] # the theft happens between two steps
    moved = await drain(site_of(queue, store), MESSAGES)

    assert moved is not None
    assert moved.records == 0
    assert (await total(queue)).pending == 1


async def test_an_epoch_below_what_the_store_has_seen_is_raised_above_it(queue: Queue) -> None:
    """A failover of the queue server may lose epochs; the store has not."""
    store, sender = ListStore(epoch=2**43), Sender(queue)
    await sender.push(sender.message())

    moved = await drain(site_of(queue, store), MESSAGES)

    assert moved is not None
    assert moved.stored == 1
    assert store.epoch == 2**43 + 1


async def test_a_store_that_others_write_to_under_ever_higher_epochs_is_left_to_them(queue: Queue) -> None:
    store, sender = ListStore(), Sender(queue)
    seen = time.time_ns() // 1000  # above every epoch of the clock, which counts milliseconds

    def overtaken(_: Sequence[Record]) -> None:
        nonlocal seen
        seen += 10
        raise StaleOwner("ns/messages:0", seen - 1, seen)

    store.before = overtaken
    await sender.push(sender.message())

    with pytest.raises(LaneWaits, match="was written with epoch"):
        await drain(site_of(queue, store), MESSAGES)

    counts = await total(queue)
    assert (counts.pending, counts.leased, counts.balanced) == (1, 0, True)


async def test_a_commit_whose_answer_is_lost_is_repeated_and_counts_once(queue: Queue) -> None:
    store, sender = ListStore(), Sender(queue)
    await sender.push(*(sender.message(str(n)) for n in range(5)))
    real_commit, answers = queue.commit, iter([QueueUnavailable("answer lost")])

    async def lossy(commit: Commit) -> bool:
        done = await real_commit(commit)
        for error in answers:
            raise error
        return done

    queue.commit = lossy  # type: ignore[method-assign] # stands for a connection cut after the script ran
    moved = await drain(site_of(queue, store), MESSAGES)

    assert moved is not None
    assert moved.stored == 5
    counts = await total(queue)
    assert (counts.stored, counts.balanced) == (5, True)


async def test_a_slice_ends_in_time_and_asks_to_be_rung_again(queue: Queue) -> None:
    store, sender = ListStore(), Sender(queue)
    for n in range(50):
        await sender.push(sender.message(str(n)))

    moved = await drain(site_of(queue, store, slice_ms=1, batch_records=1), MESSAGES)

    assert moved is not None
    assert moved.records < 50
    assert moved.generation > 1


@dataclass
class PreparingStore(ListStore):
    """Notes of which batches it was shown ahead, and which of them came as it had prepared them."""

    shown: list[list[Record]] = field(default_factory=list)
    ready: list[bool] = field(default_factory=list)

    async def prepare(self, records: list[Record]) -> list[Record]:
        self.shown.append(records)
        return Prepared(records, None)

    async def write(self, records: Sequence[Record], fence: Fence | None = None) -> int:
        self.ready.append(isinstance(records, Prepared))
        if len(self.ready) == 1:
            async with asyncio.timeout(5):  # the second batch is shown while the first one is written
                while len(self.shown) < 2:
                    await asyncio.sleep(0)
        return await super().write(records, fence)


async def test_the_next_batch_is_prepared_while_one_is_written(queue: Queue) -> None:
    store, sender = PreparingStore(), Sender(queue)
    for n in range(3):
        await sender.push(sender.message(str(n)))

    await drain(site_of(queue, store, batch_records=1), MESSAGES)

    assert store.ready == [True] * 3
    assert store.shown == store.writes
    assert [row.content for row in store.messages()] == ["0", "1", "2"]
    assert (await total(queue)).balanced


async def test_what_a_strategy_may_change_is_not_prepared_before(queue: Queue) -> None:
    store, sender = PreparingStore(), Sender(queue)
    store.shown = [[], []]
    await sender.push(sender.message("mail me: a@example.org"))

    await drain(site_of(queue, store, strategy="mask"), MESSAGES)

    assert store.shown == [[], []]
    assert store.ready == [False]


async def _until_free(queue: Queue) -> None:
    async with asyncio.timeout(5):
        while await queue.client.exists(queue.keys.lease(MESSAGES)):
            await asyncio.sleep(0.01)
