"""A partition that the queue refuses holds its share of the buffer, and no more."""

from __future__ import annotations

import threading

import pytest

from penstock.producer import BufferFull, ProducerSettings
from penstock.producer.buffer import Buffer, SharedBuffer
from penstock.producer.hot import Shares
from penstock.producer.overflow import BlockWhenFull, Drops, DropWhenFull
from penstock.producer.receipt import Entry
from penstock.wire.keys import Partition, partition_of
from tests.unit.producer_support import FakeLog, roomy, sending, ticket

HOT, COLD = (next(f"s{n}" for n in range(100) if partition_of(f"s{n}", 2) == number) for number in (0, 1))
WHERE = Partition("messages", 0)


def entry(session: str = HOT, size: int = 10) -> Entry:
    return Entry("messages", session, bytes(size))


def fill(buffer: Buffer, session: str = HOT) -> int:
    """How many records of a session fit."""
    count = 0
    try:
        while buffer.add(entry(session)):
            count += 1
    except BufferFull:
        pass
    return count


def test_a_refused_partition_gets_half_and_the_others_all_of_the_rest() -> None:
    buffer = roomy(max_records=100)
    buffer.refuse(WHERE, list, 2)

    assert fill(buffer, HOT) == 50
    assert fill(buffer, COLD) == 50


def test_its_share_is_of_bytes_too() -> None:
    buffer = roomy(max_bytes=1_000)
    buffer.refuse(WHERE, list, 2)

    assert fill(buffer, HOT) == 50
    assert fill(buffer, COLD) == 50


def test_what_it_held_before_it_was_refused_counts() -> None:
    buffer = roomy(max_records=100)
    taken = [entry() for _ in range(20)]
    for one in taken:
        buffer.add(one)
    buffer.take()
    for session in (HOT, HOT, COLD):
        buffer.add(entry(session))

    buffer.refuse(WHERE, lambda: taken, 2)

    assert fill(buffer, HOT) == 50 - 22


@pytest.mark.parametrize("refused", [1, 2, 3])
def test_refused_partitions_leave_room_for_the_others_however_many_they_are(refused: int) -> None:
    shares = Shares(120, 10**6)
    wheres = [Partition("logs", number) for number in range(refused)]
    for where in wheres:
        shares.begin(where, [], 8)
    for where in wheres * 200:  # each in its turn
        if shares.has_room(where, 1):
            shares.grow(where, 1)

    assert 120 - shares.records >= 120 // (refused + 1) - refused
    assert {shares.held(where).records for where in wheres} <= set(range(120 // (refused + 1) - 2, 61))


def test_a_partition_that_is_taken_from_again_has_all_the_room_there_is() -> None:
    buffer = roomy(max_records=100)
    buffer.refuse(WHERE, list, 2)
    fill(buffer, HOT)
    buffer.take()

    buffer.release(40, 400, WHERE)
    assert fill(buffer, HOT) == 40
    buffer.release(50, 500, WHERE)
    assert not buffer.shares
    assert fill(buffer, HOT) == 100


def test_how_full_it_is_is_said_of_what_refused_partitions_leave() -> None:
    buffer = roomy(max_records=100)
    buffer.refuse(WHERE, list, 2)
    fill(buffer, HOT)
    assert buffer.fill() == 0

    for _ in range(25):
        buffer.add(entry(COLD))
    assert buffer.fill() == 0.5


def test_a_record_without_a_share_is_dropped_for_its_partition() -> None:
    drops = Drops()
    buffer = Buffer(10, 10**6, DropWhenFull(drops))
    buffer.open()
    buffer.refuse(WHERE, list, 2)
    for session in [HOT] * 7 + [COLD] * 6:
        buffer.add(entry(session))

    assert drops.counts == {"partition_full": 2, "buffer_full": 1}


def test_the_error_names_the_partition_its_share_and_the_remedy() -> None:
    buffer = roomy(max_records=10)
    buffer.refuse(WHERE, list, 2)
    fill(buffer, HOT)

    with pytest.raises(
        BufferFull, match=r"nothing for partition messages:0, .* 5 of 10 records.*others? .*go on; catch"
    ):
        buffer.add(entry(HOT))


def test_a_thread_waits_for_its_partition_and_others_pass() -> None:
    buffer = SharedBuffer(10, 10**6, BlockWhenFull(Drops(), 30))
    buffer.open()
    buffer.refuse(WHERE, list, 2)
    for _ in range(5):
        buffer.add(entry(HOT))
    buffer.take()
    thread = threading.Thread(target=buffer.add, args=(entry(HOT),))
    thread.start()
    buffer.add(entry(COLD))

    buffer.release(3, 30, WHERE)
    thread.join(10)

    assert not thread.is_alive()
    assert buffer.records == 4


async def test_a_full_partition_leaves_the_others_half_the_buffer_until_it_is_taken_from() -> None:
    log, buffer = FakeLog([{0}] * 10**4), roomy(max_records=100)
    settings = ProducerSettings(linger_ms=0, retry_base_ms=0, retry_cap_ms=0)
    first = ticket(HOT)
    buffer.add(first)
    async with sending(log, buffer, settings) as sender:
        while WHERE not in buffer.shares:
            await ticket_of(buffer, COLD).decided()
        stuck = [first]
        while buffer.has_room(1, WHERE):
            buffer.add(one := ticket(HOT))
            stuck.append(one)
        assert len(stuck) == 50
        for _ in range(200):
            await ticket_of(buffer, COLD).decided()
        log.script.clear()
        sender.hurry()
        for one in stuck:
            await one.decided()

    assert not buffer.shares
    assert buffer.records == buffer.bytes == 0


def ticket_of(buffer: Buffer, session: str) -> Entry:
    buffer.add(one := ticket(session))
    return one


def test_the_alarm_is_given_when_the_rest_that_refused_partitions_leave_is_so_full() -> None:
    buffer, given = roomy(max_records=100), []
    buffer.alarm = lambda: given.append(buffer.records)
    buffer.refuse(WHERE, list, 2)
    fill(buffer, HOT)

    buffer.alarm_at(0.5)
    assert given == []
    for _ in range(40):
        buffer.add(entry(COLD))

    assert given == [75]
