"""Pushing: appended once, counted once, refused as a whole; an idle partition is rung once."""

from __future__ import annotations

import asyncio

import pytest

from penstock.wire.entries import Push, position
from penstock.wire.errors import QueueFull, QueueRejected
from penstock.wire.frames import Frame
from penstock.wire.keys import Partition
from penstock.wire.queue import Queue
from tests.system.queue_support import NO_CAP, WHERE, Sender, everything, meta, owned, settling


async def test_frames_lie_in_the_log_in_their_order(queue: Queue) -> None:
    sender = Sender(queue)

    first = await sender.push(2, 3)
    second = await sender.push(1)

    entries = await queue.read(WHERE, 10)
    assert [(entry.frame, entry.records) for entry in entries] == [(b"p1/1/0", 2), (b"p1/1/1", 3), (b"p1/2/0", 1)]
    assert [entries[1].id, entries[2].id] == [first.entry_id, second.entry_id]
    assert position(first.entry_id) < position(second.entry_id)


async def test_binary_frames_return_byte_by_byte(queue: Queue) -> None:
    body = bytes(range(256)) * 1024

    await queue.push([Push(WHERE, "p", 1, [Frame(body, 1)])], NO_CAP)

    assert [entry.frame for entry in await queue.read(WHERE, 1)] == [body]


async def test_idle_partition_gives_a_generation_once(queue: Queue) -> None:
    sender = Sender(queue)

    assert [(await sender.push(1)).generation for _ in range(3)] == [1, 0, 0]


async def test_of_many_pushers_one_rings(queue: Queue) -> None:
    senders = [Sender(queue, producer_id=f"p{number}") for number in range(20)]

    pushed = await asyncio.gather(*(sender.push(1) for sender in senders))

    assert sorted(one.generation for one in pushed) == [0] * 19 + [1]


async def test_push_with_the_same_number_appends_nothing_and_tells_where_it_lies(queue: Queue) -> None:
    """As after a lost answer."""
    sender = Sender(queue)
    first = await sender.push(2, 1)
    before = await everything(queue)

    again = await sender.again(2, 1)

    assert again == (0, first.entry_id)
    assert await everything(queue) == before


async def test_repeated_push_is_known_when_its_records_are_settled_already(queue: Queue) -> None:
    sender = Sender(queue)
    first = await sender.push(1)
    await queue.commit(settling(await owned(queue), await queue.read(WHERE, 10)))

    assert (await sender.again(1)).entry_id == first.entry_id
    assert await queue.read(WHERE, 10) == []


async def test_two_producers_may_use_the_same_numbers(queue: Queue) -> None:
    await Sender(queue, producer_id="p1").push(1)
    await Sender(queue, producer_id="p2").push(1)

    assert [entry.frame for entry in await queue.read(WHERE, 10)] == [b"p1/1/0", b"p2/1/0"]


async def test_producers_memory_in_the_server_ends_by_itself(queue: Queue) -> None:
    await Sender(queue).push(1)

    assert 0 < await queue.client.pttl(queue.keys.seen(WHERE, "p1")) <= 6 * 3600 * 1000


async def test_full_partition_appends_nothing(queue: Queue) -> None:
    sender = Sender(queue, cap=3)
    await sender.push(2)
    await sender.push(5)  # the cap is looked at before: a push is never cut in two
    before = await everything(queue)

    with pytest.raises(QueueFull, match=r"holds 7 records.*start more workers or raise backlog_records"):
        await sender.push(1)

    assert await everything(queue) == before


async def test_refused_push_succeeds_under_its_number_once_there_is_room(queue: Queue) -> None:
    sender = Sender(queue, cap=2)
    await sender.push(2)
    with pytest.raises(QueueFull):
        await sender.push(1)
    await queue.commit(settling(await owned(queue), await queue.read(WHERE, 10)))

    await sender.again(1)

    assert [entry.frame for entry in await queue.read(WHERE, 10)] == [b"p1/2/0"]


async def test_chunks_that_wait_in_buffers_count_for_the_cap(queue: Queue) -> None:
    await Sender(queue).push(3)
    await queue.commit(settling(await owned(queue), await queue.read(WHERE, 10), buffered=3))

    with pytest.raises(QueueFull, match="holds 3 records"):
        await Sender(queue, producer_id="p2", cap=3).push(1)


async def test_one_full_partition_keeps_no_other_out(queue: Queue) -> None:
    await Sender(queue).push(5)
    other = Partition("logs", 1)
    pushes = [Push(where, "p2", 1, [Frame(b"f", 1)]) for where in (WHERE, other)]

    refused, pushed = await queue.push(pushes, 5)

    assert isinstance(refused, QueueFull)
    assert [entry.id for entry in await queue.read(other, 10)] == [pushed[1]]  # type: ignore[index] # a Pushed


async def test_foreign_data_under_a_key_is_told_and_keeps_no_other_out(queue: Queue) -> None:
    await queue.client.set(queue.keys.log(WHERE), "not a stream")
    pushes = [Push(where, "p", 1, [Frame(b"f", 1)]) for where in (WHERE, Partition("logs", 0))]

    refused, pushed = await queue.push(pushes, NO_CAP)

    assert isinstance(refused, QueueRejected)
    assert "WRONGTYPE" in str(refused)
    assert not isinstance(pushed, Exception)


async def test_server_that_forgot_the_scripts_is_taught_again(queue: Queue) -> None:
    sender = Sender(queue)
    await sender.push(1)
    await queue.client.script_flush()

    await sender.push(1)
    await queue.client.script_flush()

    assert await queue.acquire(WHERE, 1_000) is not None
    assert (await meta(queue))["accepted"] == "2"


async def test_reading_goes_on_after_an_entry(queue: Queue) -> None:
    await Sender(queue).push(1, 1, 1)

    first, second, third = await queue.read(WHERE, 10)

    assert await queue.read(WHERE, 1) == [first]
    assert await queue.read(WHERE, 10, after=first.id) == [second, third]
    assert await queue.read(WHERE, 10, after=third.id) == []


async def test_wait_ends_when_something_comes(queue: Queue) -> None:
    waiting = asyncio.create_task(queue.wait(WHERE, "0-0", 10_000))

    await Sender(queue).push(1)

    assert await waiting is True


async def test_wait_ends_when_nothing_comes(queue: Queue) -> None:
    assert await queue.wait(WHERE, "0-0", 1) is False


async def test_ring_is_heard_once(queue: Queue) -> None:
    await queue.ring([(WHERE, 3), (Partition("logs", 11), 4)])

    assert await queue.heard(1) == (WHERE, 3)
    assert await queue.heard(1) == (Partition("logs", 11), 4)
    assert await queue.heard(0.01) is None
