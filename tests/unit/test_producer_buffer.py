"""The buffer's bounds, and what each overflow policy does at them."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from structlog.testing import capture_logs

from penstock.producer import BufferFull, RecordDropped
from penstock.producer.buffer import Buffer, SharedBuffer
from penstock.producer.errors import ProducerClosed
from penstock.producer.overflow import BlockWhenFull, Drops, DropWhenFull, RaiseWhenFull
from penstock.producer.receipt import Entry
from penstock.wire.keys import Partition
from tests.unit.producer_support import roomy


def entry(size: int = 10) -> Entry:
    return Entry("messages", "s", bytes(size))


def test_a_full_buffer_of_records_refuses_and_says_the_limit_and_the_remedy() -> None:
    buffer = roomy(max_records=2)
    buffer.add(entry())
    buffer.add(entry())

    with pytest.raises(BufferFull, match=r"2 of 2 records.*overflow"):
        buffer.add(entry())
    assert (buffer.records, buffer.bytes) == (2, 20)


def test_a_full_buffer_of_bytes_refuses() -> None:
    buffer = roomy(max_bytes=25)
    buffer.add(entry())
    buffer.add(entry())

    with pytest.raises(BufferFull, match="20 of 25 bytes"):
        buffer.add(entry())


def test_a_record_above_the_limit_is_taken_alone() -> None:
    buffer = roomy(max_bytes=25)

    assert buffer.add(entry(100))
    with pytest.raises(BufferFull):
        buffer.add(entry(1))


def test_what_is_taken_counts_until_it_is_released() -> None:
    buffer = roomy(max_records=1)
    buffer.add(entry())
    buffer.take()

    with pytest.raises(BufferFull):
        buffer.add(entry())
    buffer.release(1, 10)
    assert buffer.add(entry())


def test_a_closed_buffer_takes_nothing() -> None:
    buffer = roomy()
    buffer.close()

    with pytest.raises(ProducerClosed):
        buffer.add(entry())


def test_the_bell_rings_once_for_the_amount_asked_for() -> None:
    buffer, rings = roomy(), list[int]()
    buffer.ring = lambda: rings.append(buffer.records)
    buffer.add(entry())
    buffer.take()
    buffer.wake_at(2, 10**6)

    for _ in range(4):
        buffer.add(entry())

    assert rings == [3]


def test_the_bell_rings_at_once_when_the_amount_is_there_already() -> None:
    buffer, rings = roomy(), list[int]()
    buffer.ring = lambda: rings.append(buffer.records)
    buffer.add(entry())

    buffer.wake_at(10, 10)

    assert rings == [1]


def test_drop_takes_nothing_counts_and_logs_first_then_once_a_second() -> None:
    now = [0.0]
    drops = Drops(lambda: now[0])
    buffer = Buffer(1, 10**6, DropWhenFull(drops))
    buffer.open()
    buffer.add(entry())

    with capture_logs() as lines:
        taken = []
        for at in (0.0, 0.1, 0.9, 1.0, 1.1):
            now[0] = at
            taken.append(buffer.add(entry()))

    assert taken == [False] * 5
    assert [(line["records"], line["total"]) for line in lines] == [(1, {"buffer_full": 1}), (3, {"buffer_full": 4})]


def test_what_was_not_logged_yet_is_logged_when_it_is_time() -> None:
    now = [0.0]
    drops = Drops(lambda: now[0])
    with capture_logs() as lines:
        drops.count("buffer_full", 1)
        drops.count("buffer_full", 2)
        now[0] = 5.0
        drops.report()

    assert [line["records"] for line in lines] == [1, 2]


def test_what_closing_leaves_behind_is_counted_logged_once_and_told_to_those_who_wait() -> None:
    drops, left = Drops(), [entry(), entry()]
    with capture_logs() as lines:
        RaiseWhenFull(drops).leave(left, "the queue is away")

    assert drops.counts == {"closed": 2}
    assert [line["records"] for line in lines] == [2]
    assert all(isinstance(one.fate, RecordDropped) and "the queue is away" in str(one.fate) for one in left)


def shared(max_records: int, timeout_s: float, **more: Any) -> SharedBuffer:
    buffer = SharedBuffer(max_records, 10**6, BlockWhenFull(Drops(), timeout_s))
    buffer.open()
    return buffer


def test_block_gives_up_after_its_timeout() -> None:
    buffer = shared(1, 0.01)
    buffer.add(entry())

    with pytest.raises(BufferFull, match=r"waited 0\.01 s"):
        buffer.add(entry())


class Watched(SharedBuffer):
    """Tells when a thread begins to wait for room."""

    waiting = threading.Event()

    def wait_for_room(self, size: int, timeout_s: float, where: Partition | None = None) -> bool:
        self.waiting.set()
        return super().wait_for_room(size, timeout_s, where)


def watched(max_records: int) -> Watched:
    buffer = Watched(max_records, 10**6, BlockWhenFull(Drops(), 30))
    buffer.waiting = threading.Event()
    buffer.open()
    return buffer


def test_block_lets_every_waiting_thread_go_on_below_the_low_mark() -> None:
    buffer = watched(4)
    for _ in range(4):
        buffer.add(entry())
    threads = [threading.Thread(target=buffer.add, args=(entry(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert buffer.waiting.wait(10)
    buffer.take()

    buffer.release(2, 20)

    for thread in threads:
        thread.join(10)
    assert buffer.records == 4


def test_closing_wakes_a_blocked_thread_with_an_error() -> None:
    buffer, errors = watched(1), list[Exception]()
    buffer.add(entry())

    def add() -> None:
        try:
            buffer.add(entry())
        except ProducerClosed as exc:
            errors.append(exc)

    thread = threading.Thread(target=add)
    thread.start()
    assert buffer.waiting.wait(10)

    buffer.close()

    thread.join(10)
    assert len(errors) == 1


def test_adds_from_many_threads_are_all_counted() -> None:
    buffer = shared(10**6, 1)
    threads = [threading.Thread(target=lambda: [buffer.add(entry()) for _ in range(2_000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (buffer.records, buffer.bytes, len(buffer.take())) == (8_000, 80_000, 8_000)


def test_an_entry_that_is_added_within_a_call_is_counted() -> None:
    """Between any two steps of ours garbage may be collected, and log: into the same producer."""

    class Logging(Entry):
        @property
        def size(self) -> int:
            if not buffer.records:
                buffer.add(entry())
            return super().size

    buffer = roomy(max_records=10)
    buffer.add(Logging("messages", "s", bytes(5)))

    assert (buffer.records, buffer.bytes, len(buffer.take())) == (2, 15, 2)


def test_what_many_threads_look_at_is_set_by_one_at_a_time() -> None:
    """Opened while the sender asks to be woken, the buffer would forget that, and the first record wait for ever."""
    alone: list[bool] = []

    class Watched(SharedBuffer):
        def _look(self) -> None:
            alone.append(not self.lock.acquire(blocking=False))
            if not alone[-1]:
                self.lock.release()

        def _mark(self) -> None:
            other = threading.Thread(target=self._look)
            other.start()
            other.join()
            super()._mark()

    buffer = Watched(10, 100, BlockWhenFull(Drops(), 1))
    buffer.open()
    buffer.wake_at(1, 1)
    buffer.close()

    assert alone == [True, True, True]


def test_the_alarm_is_given_when_what_a_refused_partition_held_has_left() -> None:
    """Its share counts for the level of the alarm as long as it is refused, and no longer."""
    buffer, alarms = roomy(max_records=10), list[float]()
    buffer.alarm = lambda: alarms.append(buffer.fill())
    where = Partition("messages", 0)
    taken = [entry() for _ in range(2)]
    for each in taken:
        buffer.add(each)
    buffer.take()
    buffer.refuse(where, lambda: taken, 1)
    buffer.alarm_at(0.3)
    buffer.release(2, 20, where)
    for _ in range(3):
        buffer.add(entry())

    assert alarms == [0.3]
