"""Keys set if nobody has: one of many gets True, in order with the plain calls, whatever is lost on the way."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from penstock import dlq
from penstock.embedded import free_port
from penstock.producer import BlockingProducer, Producer, ProducerSettings, RecordDropped
from penstock.producer.claim import PATIENCE_S
from penstock.producer.errors import ProducerClosed
from penstock.stores.sqlite import SqliteStore
from penstock.wire.entries import Letter
from penstock.wire.errors import InvalidRecord, QueueFull, QueueRejected, QueueUnavailable
from penstock.wire.frames import decode_frame, encode
from penstock.wire.ids import format_id, wall_clock_us
from penstock.wire.keys import Partition, partition_of
from penstock.wire.marks import GRACE_MS
from penstock.wire.queue import Queue
from tests.system.drain_support import drain_all, total
from tests.system.link import Link, linked
from tests.system.producer_support import held, working
from tests.system.queue_support import owned, settling

SOON = 20.0
AWAY = f"redis://127.0.0.1:{free_port()}/0"


def settings_of(**given: Any) -> ProducerSettings:
    return ProducerSettings(**{"retry_base_ms": 5, "retry_cap_ms": 20, "close_timeout_s": SOON, **given})


@pytest.fixture
async def producer(redis_url: str, namespace: str) -> AsyncIterator[Producer]:
    async with Producer(redis_url, namespace=namespace, settings=settings_of()) as producer:
        yield producer


@pytest.fixture
async def other(redis_url: str, namespace: str) -> AsyncIterator[Producer]:
    async with Producer(redis_url, namespace=namespace, settings=settings_of()) as other:
        yield other


@pytest.fixture
async def link(redis_url: str) -> AsyncIterator[Link]:
    async with linked(redis_url) as link:
        yield link


async def stored_value(store: SqliteStore, key: str = "k", now_us: int | None = None) -> Any:
    found = await store.key_value("default", key, wall_clock_us() if now_us is None else now_us)
    return None if found is None else found.value


def where_of(queue: Queue, key: str = "k", namespace: str = "default") -> Partition:
    return Partition("state", partition_of(f"{namespace}:{key}", queue.partitions))


def marker_of(queue: Queue, key: str = "k") -> str:
    return queue.keys.mark(where_of(queue, key), "default", key)


def set_ahead(producer: Producer) -> None:
    """Have its stamps an hour ahead of everybody's clock."""
    milliseconds = wall_clock_us() // 1000 + 3_600_000
    producer._states.stamps.observe((milliseconds << 16).to_bytes(8, "big"))


class Nothing:
    """A strategy that stores nothing."""

    def should_store(self, _record: object) -> bool:
        return False


# -- who is first -------------------------------------------------------------------------------


async def test_the_first_sets_the_key_and_its_value_is_stored(
    queue: Queue, producer: Producer, other: Producer, store: SqliteStore
) -> None:
    answers = [
        await each.set_if_absent(key="k", value=value) for each, value in ((producer, 1), (producer, 2), (other, 3))
    ]

    await drain_all(queue, store)
    counts = await total(queue)
    assert answers == [True, False, False]
    assert await stored_value(store) == 1
    assert (counts.accepted, counts.stored, counts.balanced) == (1, 1, True)


async def test_of_many_callers_of_many_producers_one_is_first(
    queue: Queue, redis_url: str, namespace: str, store: SqliteStore
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        producers = [await stack.enter_async_context(Producer(redis_url, namespace=namespace)) for _ in range(5)]
        answers = await asyncio.gather(
            *(producers[number % 5].set_if_absent(key="k", value=number) for number in range(50))
        )

    await drain_all(queue, store)
    assert Counter(answers) == {True: 1, False: 49}
    assert await stored_value(store) == answers.index(True)
    assert (await total(queue)).accepted == 1


async def test_a_key_of_another_namespace_is_another_key(producer: Producer) -> None:
    names = [("default", "k"), ("a", "k"), ("a:b", "c"), ("a", "b:c")]

    assert [await producer.set_if_absent(namespace=space, key=key, value=1) for space, key in names] == [True] * 4


async def test_a_claim_wakes_an_idle_partition(queue: Queue, producer: Producer) -> None:
    await producer.set_if_absent(key="k", value=1)

    assert await queue.heard(SOON) == (where_of(queue), 1)


async def test_flushing_until_stored_waits_for_a_claim_too(queue: Queue, producer: Producer) -> None:
    async with working(queue) as worker:
        await producer.set_if_absent(key="k", value=1)
        await producer.flush(until="stored", timeout=SOON)

        assert len(worker.stored) == 1


# -- in order with the plain calls ----------------------------------------------------------------


async def test_it_comes_after_what_this_producer_handed_over_before(redis_url: str, namespace: str) -> None:
    """Though that would linger for a minute yet."""
    async with Producer(redis_url, namespace=namespace, settings=settings_of(linger_ms=60_000)) as producer:
        producer.key_value(key="k", value=1)
        taken = await producer.set_if_absent(key="k", value=2)
        producer.delete_key_value("k")
        free = await producer.set_if_absent(key="k", value=3)

    assert (taken, free) == (False, True)


async def test_it_knows_what_other_producers_have_sent(queue: Queue, producer: Producer, other: Producer) -> None:
    other.key_value(key="k", value=1)
    await other.flush(timeout=SOON)
    taken = await producer.set_if_absent(key="k", value=2)
    other.delete_key_value("k")
    await other.flush(timeout=SOON)
    free = await producer.set_if_absent(key="k", value=3)

    assert (taken, free) == (False, True)


async def test_a_plain_call_after_it_replaces_the_value_whose_ever_it_was(
    queue: Queue, producer: Producer, other: Producer, store: SqliteStore
) -> None:
    """The loser's clock is behind: it has seen the winner's stamp, and gives a higher one."""
    set_ahead(producer)
    await producer.set_if_absent(key="k", value="first")
    assert not await other.set_if_absent(key="k", value="refused")
    other.key_value(key="k", value="replaced")
    await other.flush(timeout=SOON)

    await drain_all(queue, store)
    assert await stored_value(store) == "replaced"


async def test_a_key_deleted_by_a_clock_ahead_can_be_set_by_one_behind_and_is_stored(
    queue: Queue, producer: Producer, other: Producer, store: SqliteStore
) -> None:
    set_ahead(producer)
    producer.key_value(key="k", value="first")
    producer.delete_key_value("k")
    await producer.flush(timeout=SOON)

    assert await other.set_if_absent(key="k", value="second")

    await drain_all(queue, store)
    assert await stored_value(store) == "second"
    assert (await total(queue)).balanced


async def test_messages_and_other_state_leave_no_markers(queue: Queue, producer: Producer) -> None:
    producer.message(session_id="s", role="user", content="hi")
    producer.task(task_id="k")
    producer.context(context_id="k", data={})
    await producer.flush(timeout=SOON)

    assert [key async for key in queue.client.scan_iter(match=f"{queue.keys.namespace}:*:kv:*")] == []


async def test_many_keys_in_one_push_are_all_known(producer: Producer, other: Producer) -> None:
    for number in range(3_000):
        producer.key_value(key=f"k{number}", value=number)
    await producer.flush(timeout=SOON)

    assert not any([await other.set_if_absent(key=f"k{number}", value=0) for number in range(0, 3_000, 250)])


# -- for a while ----------------------------------------------------------------------------------


@pytest.mark.parametrize("plain", [False, True])
async def test_a_key_is_free_again_after_its_time_and_not_before(
    plain: bool, queue: Queue, producer: Producer, other: Producer, store: SqliteStore
) -> None:
    began = time.monotonic()
    if plain:
        producer.key_value(key="k", value="first", ttl_s=0.08)
        await producer.flush(timeout=SOON)
    else:
        assert await producer.set_if_absent(key="k", value="first", ttl_s=0.08)
    await drain_all(queue, store)
    while not await other.set_if_absent(key="k", value="second", ttl_s=60):
        await asyncio.sleep(0)

    assert time.monotonic() - began >= 0.08
    await drain_all(queue, store)
    assert await stored_value(store) == "second"
    assert await stored_value(store, now_us=wall_clock_us() + 61_000_000) is None
    assert not await producer.set_if_absent(key="k", value="third")


async def test_a_markers_memory_ends_by_itself(queue: Queue, producer: Producer) -> None:
    await producer.set_if_absent(key="held", value=1)
    await producer.set_if_absent(key="short", value=1, ttl_s=10)
    await producer.set_if_absent(key="gone", value=1)
    producer.delete_key_value("gone")
    await producer.flush(timeout=SOON)

    held_ms, short_ms, gone_ms = [await queue.client.pttl(marker_of(queue, key)) for key in ("held", "short", "gone")]
    assert held_ms == -1
    assert GRACE_MS < short_ms <= GRACE_MS + 10_002
    assert 0 < gone_ms <= GRACE_MS


# -- lost answers ---------------------------------------------------------------------------------


async def test_a_lost_answer_is_asked_for_again_and_is_still_true(
    queue: Queue, link: Link, namespace: str, other: Producer
) -> None:
    async with Producer(link.url, namespace=namespace, settings=settings_of()) as producer:
        await producer.set_if_absent(key="warm", value=0)
        link.hearing = False
        asking = asyncio.create_task(producer.set_if_absent(key="k", value=1))
        await link.lost.wait()
        other.key_value(key="k", value="another's")
        await other.flush(timeout=SOON)
        link.hearing = True
        link.cut()

        assert await asking, "it was set, whatever became of it since"

    assert [getattr(one, "value", None) for one in await held(queue)].count(b"1") == 1
    assert (await total(queue)).accepted == 3


async def test_without_an_answer_in_time_the_error_says_that_it_may_have_been_set(
    link: Link, namespace: str, other: Producer
) -> None:
    async with Producer(link.url, namespace=namespace, settings=settings_of()) as producer:
        await producer.set_if_absent(key="warm", value=0)
        link.hearing = False
        with pytest.raises(
            QueueUnavailable, match=r"waited 0.05 s; key 'k' may or may not have been set.*tells whose it is"
        ):
            await producer.set_if_absent(key="k", value=1, timeout=0.05)
        assert not await other.set_if_absent(key="k", value=2), "here it was"

        link.hearing = True
        assert await producer.set_if_absent(key="next", value=3), "the next has a number of its own"


@pytest.mark.parametrize("turns", range(12))
async def test_a_cancelled_claim_harms_nothing_else(
    turns: int, link: Link, queue: Queue, namespace: str, other: Producer
) -> None:
    async with Producer(link.url, namespace=namespace, settings=settings_of()) as producer:
        await producer.set_if_absent(key="warm", value=0)
        asking = asyncio.create_task(producer.set_if_absent(key="k", value=1))
        for _ in range(turns):
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait([asking])
        was_set = not await other.set_if_absent(key="k", value=2)
        producer.key_value(key="k", value=3)

        assert await producer.set_if_absent(key="next", value=4)
        assert not await producer.set_if_absent(key="k", value=5)

    assert (await total(queue)).balanced
    values = [getattr(one, "value", b"") for one in await held(queue) if getattr(one, "key", "") == "k"]
    assert values == [b"1" if was_set else b"2", b"3"]


# -- a queue that takes nothing -------------------------------------------------------------------


async def test_a_queue_that_was_never_there_has_set_nothing() -> None:
    async with Producer(AWAY, settings=settings_of(close_timeout_s=0)) as producer:
        with pytest.raises(QueueUnavailable, match=r"key 'k' was not set: the queue was not asked yet.*did not answer"):
            await producer.set_if_absent(key="k", value=1, timeout=0.05)


async def test_a_full_partition_raises_at_once_but_still_knows_who_holds_a_key(
    queue: Queue, redis_url: str, namespace: str, other: Producer
) -> None:
    assert await other.set_if_absent(key="held", value=1)
    where = where_of(queue, "held")
    free = next(key for key in map(str, range(1_000)) if where_of(queue, key) == where)
    settings = settings_of(backlog_records=1, close_timeout_s=0)
    async with Producer(redis_url, namespace=namespace, settings=settings) as producer:
        with pytest.raises(QueueFull, match="start more workers or raise backlog_records"):
            await producer.set_if_absent(key=free, value=1)
        assert not await producer.set_if_absent(key="held", value=2)

        producer.key_value(key=free, value=2)
        with pytest.raises(QueueFull, match="start more workers or raise backlog_records"):
            await producer.set_if_absent(key=free, value=3)

    assert await other.set_if_absent(key=free, value=4), "what was refused has left no marker"


async def test_foreign_data_under_a_marker_is_told(queue: Queue, producer: Producer) -> None:
    await queue.client.rpush(marker_of(queue), "not a stamp")

    with pytest.raises(QueueRejected, match="WRONGTYPE"):
        await producer.set_if_absent(key="k", value=1)

    assert await held(queue) == []
    assert (await total(queue)).balanced


async def test_what_no_store_could_hold_is_refused_and_sets_nothing(producer: Producer) -> None:
    with pytest.raises(InvalidRecord, match="ttl_s"):
        await producer.set_if_absent(key="k", value=1, ttl_s=-1)
    with pytest.raises(InvalidRecord, match="value"):
        await producer.set_if_absent(key="k", value=object())

    assert await producer.set_if_absent(key="k", value=1)


async def test_a_strategy_that_leaves_the_record_out_sets_nothing(
    redis_url: str, namespace: str, other: Producer
) -> None:
    settings = settings_of(strategy=f"{__name__}:Nothing", strategy_at="producer")
    async with Producer(redis_url, namespace=namespace, settings=settings) as producer:
        with pytest.raises(RecordDropped, match=r"key 'k' was not set: the strategy .*Nothing' leaves it out"):
            await producer.set_if_absent(key="k", value=1)

        assert producer.dropped == {"strategy": 1}
    assert await other.set_if_absent(key="k", value=2)


# -- dead letters ---------------------------------------------------------------------------------


async def test_a_replayed_record_leaves_the_markers_alone(queue: Queue, producer: Producer, store: SqliteStore) -> None:
    producer.key_value(key="k", value="old")
    await producer.flush(timeout=SOON)
    where = where_of(queue)
    entries, lease = await queue.read(where, 10), await owned(queue, where)
    (record,) = decode_frame(entries[0].frame)
    letter = Letter(format_id(record.id), 1, encode(record), b"\x80")
    await queue.commit(settling(lease, entries, dead=1, letters=[letter]))
    await queue.release(lease)
    assert not await producer.set_if_absent(key="k", value="new"), "a dead letter still holds its key"
    producer.delete_key_value("k")
    await producer.flush(timeout=SOON)
    before = await queue.client.get(marker_of(queue))

    await dlq.replay(queue)

    assert await queue.client.get(marker_of(queue)) == before
    assert await producer.set_if_absent(key="k", value="new")
    await drain_all(queue, store)
    assert await stored_value(store) == "new"
    assert (await total(queue)).balanced


# -- started and closed ---------------------------------------------------------------------------


async def test_outside_of_its_block_a_producer_sets_nothing(redis_url: str, namespace: str) -> None:
    producer = Producer(redis_url, namespace=namespace)
    with pytest.raises(ProducerClosed, match="not started"):
        await producer.set_if_absent(key="k", value=1)
    async with producer:
        pass
    with pytest.raises(ProducerClosed, match="or closed"):
        await producer.set_if_absent(key="k", value=1)


async def test_closing_ends_a_claim_that_waits_and_says_what_is_known(link: Link, namespace: str) -> None:
    async with Producer(link.url, namespace=namespace, settings=settings_of()) as producer:
        await producer.set_if_absent(key="warm", value=0)
        link.hearing = False
        asked = asyncio.create_task(producer.set_if_absent(key="k", value=1))
        waiting = asyncio.create_task(producer.set_if_absent(key="k", value=2))
        await link.lost.wait()
        await producer.close()

    with pytest.raises(ProducerClosed, match="the producer closed; key 'k' may or may not have been set"):
        await asked
    with pytest.raises(ProducerClosed, match="the producer closed; key 'k' was not set"):
        await waiting


# -- threads --------------------------------------------------------------------------------------


async def test_of_many_threads_one_is_first(queue: Queue, redis_url: str, namespace: str) -> None:
    answers: list[bool] = []
    with (
        BlockingProducer(redis_url, namespace=namespace) as producer,
        BlockingProducer(redis_url, namespace=namespace) as other,
    ):

        def ask(number: int) -> None:
            who = (producer, other)[number % 2]
            answers.append(who.set_if_absent(key="k", value=number, timeout=SOON))

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert Counter(answers) == {True: 1, False: 11}
    assert len(await held(queue)) == 1


def test_a_thread_that_waits_is_told_when_its_producer_closes() -> None:
    told: list[Exception] = []
    producer = BlockingProducer(AWAY, settings=settings_of(close_timeout_s=0))

    def ask() -> None:
        try:
            producer.set_if_absent(key="k", value=1)
        except ProducerClosed as exc:
            told.append(exc)

    thread = threading.Thread(target=ask)
    thread.start()
    while not producer._outbox.claims._running:
        time.sleep(0)
    producer.close()
    thread.join(SOON)

    assert "key 'k' was not set" in str(told[0])
    with pytest.raises(ProducerClosed):
        producer.set_if_absent(key="k", value=1)


@pytest.mark.parametrize("producer", [Producer, BlockingProducer])
def test_nobody_waits_for_ever_who_did_not_ask_for_it(producer: type[Producer | BlockingProducer]) -> None:
    timeout = inspect.signature(producer.set_if_absent).parameters["timeout"]

    assert timeout.default == PATIENCE_S
