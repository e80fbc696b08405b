"""Levels above `fast`: settled by a confirmation, pushed again in order when the queue forgets them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from penstock.producer import BlockingProducer, Producer, ProducerSettings, RecordDropped
from penstock.producer.barriers import all_sent
from penstock.producer.receipt import Entry, Placed, Receipt, Ticket, at_level
from penstock.producer.sender import Sender
from penstock.producer.stream import Run
from penstock.wire.entries import Confirmed
from penstock.wire.errors import QueueUnavailable
from penstock.wire.keys import Partition, partition_of
from penstock.wire.levels import FAST, FSYNC, REPLICATED
from penstock.wire.settings import InvalidSetting
from penstock.wire.tasks import end_task
from tests.unit.producer_support import AT_ONCE, FakeLog, roomy, sending, ticket

WHERE = Partition("messages", partition_of("s", 2))


async def _turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def _pushed(log: FakeLog, contents: list[str]) -> None:
    while log.contents("s") != contents:
        await asyncio.sleep(0)


async def test_a_record_is_queued_when_its_level_holds_and_the_buffer_counts_it_until_then() -> None:
    log, buffer = FakeLog(), roomy()
    log.synced.clear()
    buffer.add(one := ticket(content="a", level=FSYNC))
    async with sending(log, buffer):
        await _pushed(log, ["a"])
        await _turns()
        assert (one.fate, buffer.records) == (None, 1)

        log.synced.set()
        await one.decided()

    assert isinstance(one.fate, Placed)
    assert buffer.records == buffer.bytes == 0


async def test_pushing_goes_on_while_a_confirmation_is_awaited_and_one_stands_for_many() -> None:
    log, buffer = FakeLog(), roomy()
    log.synced.clear()
    entries = [ticket(content=str(n), level=FSYNC) for n in range(5)]
    async with sending(log, buffer):
        for number, one in enumerate(entries):
            buffer.add(one)
            await _pushed(log, [str(n) for n in range(number + 1)])
        log.synced.set()
        await asyncio.gather(*(one.decided() for one in entries))

    assert len(log.pushes) == 5
    assert len(log.confirmed) == 2  # that of the first, and one for all since


async def test_a_fast_record_does_not_wait_for_the_confirmation_of_another() -> None:
    log, buffer = FakeLog(), roomy()
    log.synced.clear()
    slow, fast = ticket(content="a", level=FSYNC), ticket(content="b")
    async with sending(log, buffer):
        buffer.add(slow)
        await _pushed(log, ["a"])
        buffer.add(fast)
        await fast.decided()

    assert slow.fate is None


async def test_what_needs_both_waits_for_both_and_its_neighbour_does_not() -> None:
    log, buffer = FakeLog(), roomy()
    log.confirms += [FSYNC, *[QueueUnavailable("away")] * 1_000]
    where = [next(f"s{n}" for n in range(100) if partition_of(f"s{n}", 2) == number) for number in (0, 1)]
    synced, both = ticket(where[0], level=FSYNC), ticket(where[1], level=FSYNC | REPLICATED)
    buffer.add(synced)
    buffer.add(both)
    with capture_logs() as lines:
        async with sending(log, buffer) as sender:
            await synced.decided()
            assert both.fate is None
            assert sender.syncer.reason in ("it takes long", "away")
            log.confirms.clear()
            await both.decided()

    assert [line["event"] for line in lines] == ["not durable yet; records wait", "durable again"]


async def test_what_a_crash_took_is_pushed_again_before_what_is_newer() -> None:
    log, buffer = FakeLog(), roomy()
    log.synced.clear()
    entries = [ticket(content=str(n), level=FSYNC) for n in range(4)]
    with capture_logs() as lines:
        async with sending(log, buffer):
            for number, one in enumerate(entries[:3]):
                buffer.add(one)
                await _pushed(log, [str(n) for n in range(number + 1)])
            log.crash(WHERE, 1)
            buffer.add(entries[3])
            await _pushed(log, ["0", "1", "2", "3"])
            log.synced.set()
            await asyncio.gather(*(one.decided() for one in entries))

    assert [line["event"] for line in lines] == ["queue server lost records; sending them again"]
    assert lines[0]["records"] == 2
    assert buffer.records == buffer.bytes == 0


async def test_what_a_crash_took_is_missed_when_nothing_newer_comes() -> None:
    log, buffer = FakeLog(), roomy()
    log.synced.clear()
    buffer.add(one := ticket(content="a", level=FSYNC))
    with capture_logs():
        async with sending(log, buffer):
            await _pushed(log, ["a"])
            log.crash(WHERE, 0)
            log.synced.set()
            await one.decided()

    assert log.contents("s") == ["a"]


async def test_what_is_not_confirmed_is_given_up_in_order_with_the_rest() -> None:
    log, buffer = FakeLog(), roomy()
    log.synced.clear()
    entries = [ticket(content=str(n), level=FSYNC) for n in range(3)]
    async with sending(log, buffer) as sender:
        for number, one in enumerate(entries[:2]):
            buffer.add(one)
            await _pushed(log, [str(n) for n in range(number + 1)])
    buffer.add(entries[2])

    assert sender.lines.outstanding() == entries
    assert sender.give_up(RecordDropped("closed")) == entries


class BrokenSpool:
    """Its file is damaged, and set aside."""

    def records_of(self, where: Partition) -> int:
        return 0

    def holds(self, place: object) -> bool:
        return False


async def test_what_is_pushed_of_a_spool_that_breaks_goes_on_from_memory() -> None:
    log, buffer = FakeLog(), roomy()
    log.synced.clear()
    buffer.add(ticket(content="a", level=FSYNC))
    spool: Any = BrokenSpool()
    async with sending(log, buffer) as sender:
        await _pushed(log, ["a"])
        await _turns()
        (line,) = sender.lines
        line.trail.pending[0].batch.place = spool
        line.spooled = 1 + 4  # it, and what is behind it
        sender.spool = spool

        sender.compare()

        assert (line.pushed, line.unpushed(), line.unsent()) == (5, 0, 1)
        sender.spool = None
        log.synced.set()
        await all_sent(sender)

    assert (line.unsent(), line.spooled) == (0, 0)


STEPS = st.lists(st.sampled_from(["send", "fast", "sync", "crash", "turn"]), max_size=40)


@settings(max_examples=150, deadline=None)
@given(steps=STEPS, script=st.lists(st.sampled_from(["ok", "away", "lost", "loading"]), max_size=10), data=st.data())
def test_whatever_is_lost_what_was_confirmed_is_not_and_order_holds(
    steps: list[str], script: list[str], data: st.DataObject
) -> None:
    """The queue loses a tail now and then, back to what it has synced at most."""
    log = FakeLog(script)
    log.synced.clear()
    sent: dict[str, Ticket] = {}
    synced = 0

    async def play() -> None:
        nonlocal synced
        buffer = roomy()
        async with sending(log, buffer):
            for step in steps:
                if step in ("send", "fast"):
                    name = str(len(sent))
                    sent[name] = ticket(content=name, level=FAST if step == "fast" else FSYNC)
                    buffer.add(sent[name])
                elif step == "sync":
                    synced = log._seen[WHERE]
                    log.synced.set()
                    await _turns(3)
                    synced = log._seen[WHERE]
                    log.synced.clear()
                elif step == "crash":
                    log.crash(WHERE, data.draw(st.integers(synced, log._seen[WHERE])))
                await _turns(data.draw(st.integers(0, 6)))
            log.synced.set()
            await asyncio.gather(*(one.decided() for one in sent.values()))

    with capture_logs():
        asyncio.run(play())
    found = log.contents("s")
    assert found == sorted(found, key=lambda name: int(name or 0))
    assert len(set(found)) == len(found)
    assert {name for name, one in sent.items() if one.level == FSYNC} <= set(found)


@pytest.mark.parametrize("kind", [Ticket, Run, Receipt])
def test_a_level_is_of_the_class_and_takes_no_room(kind: type[Entry]) -> None:
    synced: type[Entry] = at_level(kind, FSYNC)

    assert (synced.level, kind.level) == (FSYNC, FAST)
    assert synced.__name__ == kind.__name__
    assert synced.__basicsize__ == kind.__basicsize__
    assert at_level(kind, FSYNC) is synced
    assert at_level(kind, FAST) is kind


@pytest.mark.parametrize("kind", [Producer, BlockingProducer])
def test_a_producer_at_a_level_shares_all_but_its_receipts(kind: type[Producer | BlockingProducer]) -> None:
    producer = kind(settings=ProducerSettings(durability="replicated"))
    view = producer.at("fsync")

    assert isinstance(view, kind)
    assert view._outbox is producer._outbox
    assert (view._receipt.level, producer._receipt.level) == (FSYNC, REPLICATED)
    assert view.at("fast")._receipt.level == FAST


def test_an_unknown_level_is_refused_with_those_there_are() -> None:
    with pytest.raises(InvalidSetting, match="durability is 'slow'; one of fast, fsync, replicated is needed"):
        Producer().at("slow")  # type: ignore[arg-type] # the point
    with pytest.raises(InvalidSetting, match="durability is 'slow'"):
        ProducerSettings(durability="slow")  # type: ignore[arg-type] # the point
    with pytest.raises(InvalidSetting, match="replicas is 0; at least 1"):
        ProducerSettings(replicas=0)
    with pytest.raises(InvalidSetting, match=r"memory_gate is 1\.5; a share from 0"):
        ProducerSettings(memory_gate=1.5)


class _HardOfHearing(FakeLog):
    """Swallows a cancellation that meets the end of a call, as redis-py does before Python 3.12."""

    swallowed = False

    async def confirm(self, producers: Mapping[Partition, str], levels: int) -> Confirmed:
        try:
            return await super().confirm(producers, levels)
        except asyncio.CancelledError:
            if self.swallowed:
                raise
            self.swallowed = True
            raise QueueUnavailable("the connection was lost") from None


async def test_sending_ends_though_a_confirmation_swallows_the_cancellation() -> None:
    log, buffer = _HardOfHearing(), roomy()
    log.synced.clear()
    sender = Sender(log, buffer, AT_ONCE, "p")
    buffer.ring = sender.ring
    buffer.add(ticket(content="a", level=FSYNC))
    task = asyncio.create_task(sender.run())
    await _pushed(log, ["a"])
    await _turns()

    async with asyncio.timeout(5):
        await end_task(task)

    assert log.swallowed


async def test_what_keeps_one_record_does_not_hide_what_keeps_another() -> None:
    log, buffer = FakeLog([{0}] * 10**4), roomy()
    log.synced.clear()
    full, unsynced = (next(f"s{n}" for n in range(100) if partition_of(f"s{n}", 2) == number) for number in (0, 1))
    buffer.add(ticket(full))
    buffer.add(ticket(unsynced, level=FSYNC))
    with capture_logs():
        async with sending(log, buffer) as sender:
            while not log.contents(unsynced):
                await asyncio.sleep(0)
            await _turns()

            assert sender.reason == "full; the queue server has it, but has not confirmed yet that it is durable"
