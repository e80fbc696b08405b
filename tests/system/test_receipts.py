"""Receipts and flushes tell the truth: of each call by itself, of streams, of replays; and of what they wait for."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import pytest

from penstock.dlq import purge, replay
from penstock.producer import BlockingProducer, DeadLettered, NotStored, Producer, ProducerSettings
from penstock.producer.blocking import BlockingReceipt
from penstock.producer.errors import NotQueued
from penstock.producer.receipt import Placed, Receipt
from penstock.query import Reader
from penstock.stores.errors import StoreRejected
from penstock.wire.entries import Entry
from penstock.wire.keys import Partition, partition_of
from penstock.wire.pauses import HAND, Halt, Outage, Pauses
from penstock.wire.queue import Queue
from penstock.wire.records import Message, Record
from penstock.wire.stream_calls import GAP_PATIENCE_MS
from penstock.worker.drain import drain
from tests.system.drain_support import ListStore, drain_all, site_of, total

SOON = 10.0
AT_ONCE = 0.02
BAD = "refuse me"


def refuse_bad(records: Sequence[Record]) -> None:
    if any(isinstance(one, Message) and one.content == BAD for one in records):
        raise StoreRejected("the test says so")


@pytest.fixture
async def producer(redis_url: str, namespace: str) -> AsyncIterator[Producer]:
    async with Producer(redis_url, namespace=namespace) as producer:
        yield producer


@pytest.fixture
def store() -> ListStore:
    return ListStore(before=refuse_bad)


@pytest.fixture
def where(queue: Queue) -> Partition:
    """Of session `s`."""
    return Partition("messages", partition_of("s", queue.partitions))


def say(producer: Producer, content: str, own_id: str | None = None) -> Receipt:
    return producer.message(session_id="s", role="user", content=content, id=own_id)


async def outcome(receipt: Receipt) -> str:
    """What `stored` says now."""
    try:
        await receipt.stored(timeout=AT_ONCE)
    except DeadLettered as exc:
        return exc.kind
    except NotStored:
        return "waits"
    return "stored"


async def put_back(queue: Queue, where: Partition, entries: Sequence[Entry]) -> None:
    """Have the log hold *entries* under the ids that they had."""
    await queue.client.delete(queue.keys.log(where))
    for entry in entries:
        await queue.client.xadd(queue.keys.log(where), {"f": entry.frame, "n": entry.records}, id=entry.id)


# -- each call by itself ------------------------------------------------------------------------


async def test_a_record_in_a_damaged_frame_is_dead_and_its_neighbours_in_the_push_are_stored(
    queue: Queue, producer: Producer, store: ListStore, where: Partition
) -> None:
    receipts = [say(producer, f"{number} " + "x" * 100_000) for number in range(6)]
    await producer.flush()
    entries = await queue.read(where, 10)
    assert len(entries) > 1, "the push has several frames"
    damaged = entries[1]._replace(frame=entries[1].frame[:-7])
    await put_back(queue, where, [entries[0], damaged, *entries[2:]])

    await drain_all(queue, store)

    first = entries[0].records
    dead = range(first, first + damaged.records)
    expected = ["undecodable" if number in dead else "stored" for number in range(6)]
    assert [await outcome(receipt) for receipt in receipts] == expected
    with pytest.raises(DeadLettered) as raised:
        await receipts[first].stored(timeout=SOON)
    assert raised.value.letter_id != raised.value.id == receipts[first].id
    await producer.flush("stored", timeout=SOON)
    assert (await purge(queue, ids=[raised.value.letter_id])).letters == 1


async def test_of_a_damaged_frame_that_can_be_read_in_the_end_only_what_is_refused_is_dead(
    queue: Queue, producer: Producer, store: ListStore, where: Partition
) -> None:
    """As if an upgraded worker could read what an older one could not."""
    receipts = [say(producer, content) for content in ("fine", BAD, "fine, too")]
    await producer.flush()
    (entry,) = await queue.read(where, 10)
    await put_back(queue, where, [entry._replace(frame=entry.frame[:-7])])
    await drain_all(queue, store)
    assert {await outcome(receipt) for receipt in receipts} == {"undecodable"}
    await replay(queue)
    (again,) = await queue.read(where, 10)

    await queue.client.delete(queue.keys.log(where))
    await queue.client.xadd(
        queue.keys.log(where), {"f": entry.frame, "n": 3, "h": again.past, "p": again.trace}, id=again.id
    )
    await drain_all(queue, store)

    assert [await outcome(receipt) for receipt in receipts] == ["stored", "rejected", "stored"]


async def test_an_id_sent_again_and_corrected_has_two_fates(queue: Queue, producer: Producer, store: ListStore) -> None:
    own = "0199f3a0-0000-7000-8000-000000000001"
    bad = say(producer, BAD, own)
    await producer.flush()
    await drain_all(queue, store)
    good = say(producer, "mended", own)
    await producer.flush()
    await drain_all(queue, store)
    worse = say(producer, BAD, own)
    await producer.flush()
    await drain_all(queue, store)

    assert [await outcome(one) for one in (bad, good, worse)] == ["rejected", "stored", "rejected"]


async def test_calls_with_one_id_in_one_frame_are_dead_if_one_of_them_is(
    queue: Queue, producer: Producer, store: ListStore
) -> None:
    """Their trace is the same; none of them is called stored that is not."""
    own = "0199f3a0-0000-7000-8000-000000000001"
    receipts = [say(producer, content, own) for content in (BAD, "mended", BAD)]
    await producer.flush()

    await drain_all(queue, store)

    assert [message.content for message in store.messages()] == ["mended"]
    assert {await outcome(receipt) for receipt in receipts} == {"rejected"}


async def test_a_receipt_follows_its_record_through_replays(queue: Queue, producer: Producer, store: ListStore) -> None:
    receipt = say(producer, BAD)
    await producer.flush()
    await drain_all(queue, store)
    assert await outcome(receipt) == "rejected"

    await replay(queue)
    with pytest.raises(NotStored, match="its dead letter is being replayed"):
        await receipt.stored(timeout=AT_ONCE)
    await drain_all(queue, store)
    assert await outcome(receipt) == "rejected"

    await replay(queue)
    waiting = asyncio.create_task(receipt.stored(timeout=SOON))
    store.before = lambda _: None
    await drain_all(queue, store)
    await waiting

    assert "stored>" in repr(receipt)


# -- streams ------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def a_stream_with_a_gap(
    queue: Queue, producer: Producer, where: Partition
) -> AsyncIterator[tuple[Receipt, list[Entry]]]:
    """A stream of three chunks whose middle one is not in the log; and the entries as they were."""
    async with producer.stream(session_id="s", role="assistant") as stream:
        for text in ("one ", "two ", "three"):
            stream.write(text)
            await producer.flush()
    await producer.flush()
    entries = await queue.read(where, 10)
    assert len(entries) == 4
    await put_back(queue, where, [entries[0], *entries[2:]])
    await queue.client.hincrby(queue.keys.meta(where), "accepted", -1)
    await queue.client.hincrby(queue.keys.meta(where), "pending", -1)
    yield stream.receipt, entries


async def push_late(queue: Queue, where: Partition, entry: Entry) -> None:
    await queue.client.xadd(queue.keys.log(where), {"f": entry.frame, "n": entry.records})
    await queue.client.hincrby(queue.keys.meta(where), "accepted", 1)
    await queue.client.hincrby(queue.keys.meta(where), "pending", 1)


async def test_a_stream_whose_end_waits_for_chunks_is_not_stored(
    queue: Queue, producer: Producer, store: ListStore, where: Partition
) -> None:
    async with a_stream_with_a_gap(queue, producer, where) as (receipt, entries):
        await drain_all(queue, store)
        with pytest.raises(NotStored, match="chunks before it are missing"):
            await receipt.stored(timeout=AT_ONCE)
        with pytest.raises(NotStored):
            await producer.flush("stored", timeout=AT_ONCE)
        waits = [asyncio.create_task(call) for call in (receipt.stored(SOON), producer.flush("stored", SOON))]

        await push_late(queue, where, entries[1])
        await drain_all(queue, store)
        await asyncio.gather(*waits)

    assert [message.content for message in store.messages()] == ["one two three"]
    assert not producer._buffer.ended
    assert (await total(queue)).balanced


async def test_a_stream_that_was_given_up_is_dead(
    queue: Queue, producer: Producer, store: ListStore, where: Partition
) -> None:
    async with a_stream_with_a_gap(queue, producer, where) as (receipt, _):
        site, ahead_ms = site_of(queue, store), 0
        real_now = site.now_ms
        site.now_ms = lambda: real_now() + ahead_ms
        await drain(site, where)
        for step_ms in (site.config.stream_timeout_ms + 1, GAP_PATIENCE_MS + 1_000):
            assert await outcome(receipt) == "waits"
            ahead_ms += step_ms
            await drain(site, where)

        assert await outcome(receipt) == "gap"
        await producer.flush("stored", timeout=SOON)
    assert [(message.content, message.state) for message in store.messages()] == [("one ", "interrupted")]


async def test_a_stream_refused_under_its_id_and_opened_again_is_stored(
    queue: Queue, producer: Producer, store: ListStore
) -> None:
    receipts = []
    for text in (BAD, "mended"):
        own = "0199f3a0-0000-7000-8000-000000000002"
        async with producer.stream(session_id="s", role="assistant", id=own) as stream:
            stream.write(text)
        await producer.flush()
        await drain_all(queue, store)
        receipts.append(stream.receipt)

    assert [await outcome(receipt) for receipt in receipts] == ["rejected", "stored"]


async def test_a_flush_waits_for_no_end_of_a_stream_that_is_open(
    queue: Queue, producer: Producer, store: ListStore
) -> None:
    async with producer.stream(session_id="s", role="assistant") as stream:
        stream.write("so far")
        await producer.flush()
        await drain_all(queue, store)

        await producer.flush("stored", timeout=SOON)

        assert store.messages() == []
        assert repr(stream.receipt).endswith("in the buffer>")


async def test_a_flush_asks_for_a_bounded_number_of_streams(producer: Producer) -> None:
    for _ in range(4_200):
        async with producer.stream(session_id="s", role="assistant"):
            pass

    assert len(producer._buffer.ended) == 4_096


# -- readers ------------------------------------------------------------------------------------


async def test_a_reader_waits_for_receipts_of_both_producers(
    queue: Queue, producer: Producer, store: ListStore, redis_url: str, namespace: str
) -> None:
    with BlockingProducer(redis_url, namespace=namespace) as blocking:
        late = blocking.message(session_id="s", role="user", content="two")
        receipts: list[Receipt | BlockingReceipt] = [say(producer, "one"), late]
        reader = Reader.open(sql="memory://")
        with pytest.raises(NotStored):
            await reader.after(*receipts, timeout=AT_ONCE)
        with pytest.raises(NotStored):
            await reader.after(late, timeout=AT_ONCE)
        waiting = asyncio.create_task(reader.after(*receipts, timeout=SOON))

        await drain_all(queue, store)

        assert await waiting is reader
    assert {message.content for message in store.messages()} == {"one", "two"}


# -- what a wait tells when it ends -------------------------------------------------------------


async def test_a_record_that_is_stored_already_needs_no_time(
    queue: Queue, producer: Producer, store: ListStore
) -> None:
    receipts = [say(producer, "fine"), say(producer, BAD)]
    await producer.flush()
    await drain_all(queue, store)

    await receipts[0].stored(timeout=0)
    with pytest.raises(DeadLettered):
        await receipts[1].stored(timeout=0)

    assert isinstance(receipts[0].fate, Placed)
    assert receipts[0].fate.stored


async def test_a_wait_tells_that_no_worker_runs(producer: Producer) -> None:
    receipt = say(producer, "hello")
    await receipt.queued(timeout=SOON)

    with pytest.raises(NotStored, match=r"was queued at .*, not stored yet: no worker runs; start one"):
        await receipt.stored(timeout=AT_ONCE)
    with pytest.raises(NotStored, match="not everything is stored yet: no worker runs"):
        await producer.flush("stored", timeout=AT_ONCE)


async def test_a_wait_tells_how_many_workers_run(queue: Queue, producer: Producer) -> None:
    receipt = say(producer, "hello")
    await queue.heartbeat("w1", 60_000)
    await queue.heartbeat("w2", 60_000)

    with pytest.raises(NotStored, match="not stored yet: 2 workers run"):
        await receipt.stored(timeout=0.2)


async def test_a_wait_tells_why_its_lane_stands_still(queue: Queue, producer: Producer) -> None:
    receipt = say(producer, "hello")
    pauses = Pauses(queue)
    await queue.heartbeat("w1", 60_000)

    await pauses.tell(Outage("messages", "w1", "0", 1_000, 2_000, "connection refused"), 60_000)
    with pytest.raises(NotStored, match=r"the store of lane messages is away since 1970.*: connection refused"):
        await receipt.stored(timeout=0.2)
    await pauses.halt(Halt("messages", HAND, "we move house", 1_000))

    with pytest.raises(
        NotStored, match=r"halted since .*\(we move house\); go on with: penstock lanes resume messages"
    ):
        await receipt.stored(timeout=AT_ONCE)


async def test_a_wait_for_what_is_not_sent_tells_where_it_is(namespace: str) -> None:
    settings = ProducerSettings(redis_url="redis://127.0.0.1:1/0", namespace=namespace, close_timeout_s=0.01)
    async with Producer(settings=settings) as producer:
        receipt = say(producer, "hello")
        with pytest.raises(NotStored, match=r"is still in the buffer; .*127\.0\.0\.1:1"):
            await receipt.stored(timeout=AT_ONCE)
        with pytest.raises(NotQueued, match="is still in the buffer"):
            await receipt.queued(timeout=AT_ONCE)
