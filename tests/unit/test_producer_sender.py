"""The sender on a queue that does what a script says."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from penstock.producer import ProducerSettings, RecordDropped
from penstock.producer.barriers import all_sent
from penstock.producer.line import MAX_PUSH_BYTES, MAX_PUSH_MARKS, MAX_PUSH_RECORDS
from penstock.producer.receipt import Placed, Ticket
from penstock.wire.errors import ConfigMismatch, QueueRejected, QueueUnavailable
from penstock.wire.frames import MAX_FRAME_BYTES, encode
from penstock.wire.keys import Partition, partition_of
from penstock.wire.records import KeyValue
from tests.unit.producer_support import FakeLog, roomy, sending, ticket

LINGERING = ProducerSettings(linger_ms=60_000, retry_base_ms=0, retry_cap_ms=0)


async def test_records_of_one_window_leave_in_one_round_trip_grouped_by_partition() -> None:
    log, buffer = FakeLog(), roomy()
    entries = [ticket(f"s{n}", str(n)) for n in range(20)]
    for one in entries:
        buffer.add(one)

    async with sending(log, buffer):
        await asyncio.gather(*(one.decided() for one in entries))

    assert len(log.pushes) == 1
    assert {push.partition for push in log.pushes[0]} == {Partition("messages", 0), Partition("messages", 1)}
    assert buffer.records == buffer.bytes == 0


async def test_a_programs_own_kind_of_str_leads_where_its_text_does() -> None:
    class Anycase(str):  # noqa: PLW1641 - without a hash, as a class is that does not think of it
        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            return self.lower() == str(other).lower()

    log, buffer = FakeLog(), roomy()
    entries = [ticket(Anycase("S-1"), "a"), ticket("S-1", "b"), ticket("s-1", "c")]
    for one in entries:
        buffer.add(one)

    async with sending(log, buffer):
        await asyncio.gather(*(one.decided() for one in entries))

    assert (log.contents("S-1"), log.contents("s-1")) == (["a", "b"], ["c"])


async def test_idle_partitions_are_rung() -> None:
    log, buffer = FakeLog(), roomy()
    buffer.add(one := ticket())

    async with sending(log, buffer) as sender:
        await one.decided()
        sender.hurry()
        buffer.add(two := ticket())
        await two.decided()

    assert log.rings == [(Partition("messages", partition_of("s", 2)), 1)]


@pytest.mark.parametrize("failure", ["away", "lost", "loading"])
async def test_a_retry_repeats_exactly_the_same_push(failure: str) -> None:
    log, buffer = FakeLog([failure, failure]), roomy()
    buffer.add(one := ticket(content="a"))

    async with sending(log, buffer):
        while not log.pushes:
            await asyncio.sleep(0)
        buffer.add(two := ticket(content="b"))
        await two.decided()

    assert log.pushes[0] == log.pushes[1] == log.pushes[2]
    assert isinstance(one.fate, Placed)
    assert log.contents("s") == ["a", "b"]


async def test_a_full_partition_holds_up_only_itself() -> None:
    full = partition_of("s0", 2)
    other = next(f"s{n}" for n in range(100) if partition_of(f"s{n}", 2) != full)
    log, buffer = FakeLog([{full}] * 10**4), roomy()
    stuck, free = ticket("s0"), ticket(other)
    buffer.add(stuck)
    buffer.add(free)

    with capture_logs() as lines:
        async with sending(
            log, buffer, ProducerSettings(linger_ms=0, retry_base_ms=10**6, retry_cap_ms=10**6)
        ) as sender:
            await free.decided()
            assert stuck.fate is None
            log.script.clear()
            sender.hurry()
            await stuck.decided()

    assert [line["event"] for line in lines] == ["partition takes nothing; its records wait"]


async def test_a_buffer_that_fills_does_not_cut_short_the_wait_for_a_queue_that_is_away() -> None:
    log, buffer = FakeLog(opens=[QueueUnavailable("away")] * 1_000), roomy()

    async with sending(log, buffer, ProducerSettings(retry_base_ms=10**6, retry_cap_ms=10**6)) as sender:
        await sender.tried.wait()
        for _ in range(8):
            buffer.add(one := ticket(content="x" * (MAX_FRAME_BYTES // 4)))
            await asyncio.sleep(0)
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(log.opens) == 999
        log.opens.clear()
        sender.hurry()
        await one.decided()


STEPS = st.lists(
    st.one_of(st.sampled_from(["ok", "away", "lost", "loading"]), st.sets(st.integers(0, 1), min_size=1)), max_size=12
)


@settings(max_examples=60, deadline=None)
@given(windows=st.lists(st.lists(st.integers(0, 4), max_size=6), max_size=6), script=STEPS)
def test_whatever_fails_nothing_is_lost_doubled_or_reordered(
    windows: list[list[int]], script: Sequence[str | set[int]]
) -> None:
    """Sessions of both partitions, sent window by window while pushes fail in any way."""
    log = FakeLog(script)
    sent: dict[str, list[str]] = {}

    async def send() -> None:
        buffer = roomy()
        async with sending(log, buffer):
            last = []
            for window in windows:
                for session in window:
                    contents = sent.setdefault(f"s{session}", [])
                    contents.append(str(len(contents)))
                    buffer.add(one := ticket(f"s{session}", contents[-1]))
                    last.append(one)
                await asyncio.sleep(0)
            await asyncio.gather(*(one.decided() for one in last))
            assert buffer.records == buffer.bytes == 0

    asyncio.run(send())
    assert {session: log.contents(session) for session in sent} == sent


async def test_a_push_is_bounded_and_the_rest_follows_without_lingering() -> None:
    log, buffer = FakeLog(), roomy()
    entries = [ticket(content="x" * 100_000) for _ in range(25)]
    for one in entries:
        buffer.add(one)

    async with sending(log, buffer, LINGERING):
        await entries[-1].decided()

    sizes = [sum(len(frame.body) for frame in pushes[0].frames) for pushes in log.pushes]
    assert len(sizes) == 3
    assert max(sizes) <= MAX_PUSH_BYTES + 1000
    assert [push.number for pushes in log.pushes for push in pushes] == [1, 2, 3]


async def test_a_push_of_small_records_is_bounded_by_their_number() -> None:
    log, buffer = FakeLog(), roomy()
    log.partitions = 1
    entries = [ticket("s", "") for _ in range(MAX_PUSH_RECORDS + 1)]
    for entry in entries:
        buffer.add(entry)

    async with sending(log, buffer) as sender:
        await all_sent(sender)

    assert [sum(frame.records for frame in push.frames) for (push,) in log.pushes] == [MAX_PUSH_RECORDS, 1]
    assert all(isinstance(entry.fate, Placed) for entry in entries)


async def test_a_push_of_state_is_bounded_by_its_marks_too() -> None:
    log, buffer = FakeLog(), roomy()
    records = [KeyValue(bytes(16), 1, bytes(16), "default", str(n), b"1") for n in range(MAX_PUSH_MARKS + 200)]
    entries = [Ticket(record.id, "state", "one partition", encode(record)) for record in records]
    for one in entries:
        buffer.add(one)

    async with sending(log, buffer, LINGERING) as sender:
        sender.hurry()
        await entries[-1].decided()

    assert [[mark.key for mark in push.marks] for pushes in log.pushes for push in pushes] == [
        [str(n) for n in range(MAX_PUSH_MARKS)],
        [str(n) for n in range(MAX_PUSH_MARKS, MAX_PUSH_MARKS + 200)],
    ]


async def test_enough_records_end_the_linger_window_early() -> None:
    log, buffer = FakeLog(), roomy()
    async with sending(log, buffer, LINGERING):
        entries = [ticket() for _ in range(2_500)]
        for one in entries:
            buffer.add(one)
            if one is entries[0]:
                await asyncio.sleep(0)

        await entries[-1].decided()

    assert len(log.pushes) == 1


async def test_hurrying_ends_the_linger_window() -> None:
    log, buffer = FakeLog(), roomy()
    async with sending(log, buffer, LINGERING) as sender:
        buffer.add(one := ticket())
        await asyncio.sleep(0)

        sender.hurry()

        await one.decided()


async def test_a_server_that_is_not_ready_holds_everything_up_like_one_that_is_away() -> None:
    log, buffer = FakeLog(["loading", "loading"]), roomy()
    buffer.add(one := ticket())
    with capture_logs() as lines:
        async with sending(log, buffer):
            await one.decided()

    assert [line["event"] for line in lines] == ["cannot send; records wait"] * 2 + ["sending again"]


async def test_a_partition_that_stays_full_is_logged_once() -> None:
    log, buffer = FakeLog([{0, 1}] * 5), roomy()
    buffer.add(one := ticket())
    with capture_logs() as lines:
        async with sending(log, buffer):
            await one.decided()

    assert [line["event"] for line in lines] == ["partition takes nothing; its records wait"]


async def test_an_absent_queue_is_tried_again_until_it_is_there() -> None:
    log, buffer = FakeLog(opens=[QueueUnavailable("away")] * 5), roomy()
    buffer.add(one := ticket())
    with capture_logs() as lines:
        async with sending(log, buffer):
            await one.decided()

    assert [(line["event"], line.get("tries")) for line in lines] == [
        ("cannot send; records wait", 1),
        ("cannot send; records wait", 2),
        ("cannot send; records wait", 4),
        ("sending again", None),
    ]


@pytest.mark.parametrize("error", [ConfigMismatch("8, not 4"), QueueRejected("WRONGTYPE"), ZeroDivisionError("a bug")])
async def test_an_error_that_somebody_must_mend_is_logged_and_loses_nothing(error: Exception) -> None:
    log, buffer = FakeLog(opens=[error]), roomy()
    buffer.add(one := ticket())
    with capture_logs() as lines:
        async with sending(log, buffer) as sender:
            await one.decided()

    assert lines[0]["log_level"] == "error"
    assert str(error) in lines[0]["reason"]
    assert isinstance(one.fate, Placed)
    assert sender.failure is None


async def test_giving_up_hands_over_what_is_left_encoded_and_in_order() -> None:
    log, buffer = FakeLog(["away"] * 10**4), roomy()
    async with sending(log, buffer) as sender:
        buffer.add(ticket(content="a"))
        while not log.pushes:
            await asyncio.sleep(0)
        buffer.add(ticket(content="b"))

    left = sender.give_up(RecordDropped())

    assert [one.packed.endswith(content) for one, content in zip(left, (b"a", b"b"), strict=True)] == [True, True]
    assert buffer.records == buffer.bytes == 0


async def test_a_flush_hears_that_the_producer_ended_before_the_queue_let_it_in() -> None:
    log, buffer = FakeLog(opens=[QueueUnavailable("away")] * 10**6), roomy()
    buffer.add(ticket())
    with capture_logs():
        async with sending(log, buffer) as sender:
            flush = asyncio.create_task(all_sent(sender))
            await sender.tried.wait()
            sender.give_up(RecordDropped("given up"))

            with pytest.raises(RecordDropped, match="given up"):
                await flush
