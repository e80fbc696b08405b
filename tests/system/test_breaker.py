"""A lane of which too much is refused: it is halted for all workers before it has made dead letters of all it holds."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from penstock.dlq import replay
from penstock.embedded import EmbeddedQueue
from penstock.stores.errors import StoreRejected
from penstock.testing.system import System
from penstock.wire.entries import Push
from penstock.wire.errors import QueueUnavailable
from penstock.wire.frames import Frame
from penstock.wire.keys import Partition
from penstock.wire.pauses import BREAKER, HAND, Halt, Pauses
from penstock.wire.queue import Queue
from penstock.wire.records import Message, Record
from penstock.wire.strategies import Chain
from penstock.worker.drain import drain
from penstock.worker.lanes import LanePaused
from penstock.worker.sifting import Sieve
from penstock.worker.site import Site
from penstock.worker.sweeper import forgotten
from tests.system.command import penstock
from tests.system.drain_support import MESSAGES, ListStore, Sender, site_of, total

OTHER = Partition("messages", 5)


def refuse_all(_: Sequence[Record]) -> None:
    raise StoreRejected("CHECK failed: amount")


def refuse_bad(records: Sequence[Record]) -> None:
    if any(isinstance(record, Message) and record.content == "bad" for record in records):
        raise StoreRejected("CHECK failed: amount")


class Failing:
    """A strategy with a bug."""

    def before_store(self, record: Record) -> Record:
        raise RuntimeError


async def halted(site: Site, partition: Partition = MESSAGES) -> str:
    with pytest.raises(LanePaused) as caught:
        await drain(site, partition)
    assert caught.value.delay_s is None, "nobody tries again before it is resumed"
    return str(caught.value)


async def resumed(site: Site, bury: int = 0, lane: str = "messages") -> None:
    """Resume, and wait until *site* has heard of it."""
    assert await site.lanes.pauses.resume(lane, bury)
    async with asyncio.timeout(5):
        while await site.lanes.halted(lane):
            await asyncio.sleep(0.02)


async def test_the_batch_that_is_one_too_many_stays_in_the_log(queue: Queue) -> None:
    store, sender = ListStore(before=refuse_all), Sender(queue)
    await sender.push(*(sender.message() for _ in range(1_000)))
    site = site_of(queue, store)

    assert "250 records in a row were refused, the first: CHECK failed: amount" in await halted(site)

    counts = await total(queue)
    assert (counts.pending, counts.dead, counts.leased, counts.balanced) == (1_000, 0, 0, True)
    halt = (await site.lanes.pauses.standings())["messages"].halt
    assert halt is not None
    assert (halt.by, halt.refused, halt.seen, halt.worker) == (BREAKER, 250, 250, "w1")


async def test_a_run_goes_on_over_batches_and_partitions(queue: Queue) -> None:
    store = ListStore(before=refuse_all)
    site = site_of(queue, store)
    for number in range(3):
        sender = Sender(queue, Partition("messages", number))
        await sender.push(*(sender.message() for _ in range(100)))

    for number in range(2):
        await drain(site, Partition("messages", number))
    await halted(site, Partition("messages", 2))

    counts = await total(queue)
    assert (counts.pending, counts.dead, counts.balanced) == (100, 200, True)
    assert store.writes == []


async def test_bad_records_among_good_ones_are_buried_as_ever(queue: Queue) -> None:
    store, sender = ListStore(before=refuse_bad), Sender(queue)
    await sender.push(*(sender.message("bad" if n % 4 == 0 else "good") for n in range(2_000)))

    moved = await drain(site_of(queue, store), MESSAGES)

    assert moved is not None
    assert (moved.stored, moved.dead) == (1_500, 500)


async def test_more_than_half_of_the_last_thousand_is_too_much(queue: Queue) -> None:
    store, sender = ListStore(before=refuse_bad), Sender(queue)
    await sender.push(*(sender.message("good" if n % 3 == 0 else "bad") for n in range(2_000)))

    assert "of 1,000 records were refused" in await halted(site_of(queue, store))
    assert (await total(queue)).dead == 0


async def test_every_worker_stops_and_other_lanes_go_on(queue: Queue) -> None:
    sender, elsewhere = Sender(queue), Sender(queue, Partition("logs", 0))
    await sender.push(*(sender.message() for _ in range(300)))
    await elsewhere.push(elsewhere.message())
    another = site_of(queue, ListStore())
    await halted(site_of(queue, ListStore(before=refuse_all)))

    await halted(another)
    assert await forgotten(another, _never_queued) == [(Partition("logs", 0), 2)]
    moved = await drain(another, Partition("logs", 0))

    assert moved is not None
    assert moved.stored == 1


async def test_a_drain_that_runs_ends_when_its_lane_is_halted(queue: Queue) -> None:
    store, sender = ListStore(), Sender(queue)
    await sender.push(sender.message())
    site = site_of(queue, store, slice_ms=60_000, drain_linger_ms=1_500)
    running = asyncio.create_task(drain(site, MESSAGES))
    await _until(lambda: _stored(queue))
    await site.lanes.pauses.halt(Halt("messages", HAND, "moving", 0))

    async with asyncio.timeout(10):
        while not running.done():
            await sender.push(sender.message())
            await asyncio.sleep(0.05)
    await running

    assert (await total(queue)).leased == 0
    await halted(site)


async def test_after_the_cause_is_mended_everything_is_stored(queue: Queue) -> None:
    store, sender = ListStore(before=refuse_all), Sender(queue)
    sent = [sender.message(str(n)) for n in range(600)]
    await sender.push(*sent)
    site = site_of(queue, store)
    await halted(site)

    store.before = lambda _: None
    await resumed(site)
    await drain(site, MESSAGES)

    assert store.messages() == sent
    counts = await total(queue)
    assert (counts.stored, counts.dead, counts.balanced) == (600, 0, True)


async def test_where_it_is_not_mended_the_lane_is_halted_again(queue: Queue) -> None:
    sender = Sender(queue)
    await sender.push(*(sender.message() for _ in range(300)))
    site = site_of(queue, ListStore(before=refuse_all))
    await halted(site)
    await resumed(site)

    await halted(site)

    assert (await total(queue)).dead == 0


async def test_as_many_as_are_allowed_are_buried_without_halting(queue: Queue) -> None:
    store, sender = ListStore(before=refuse_bad), Sender(queue)
    site = site_of(queue, store, batch_records=100)
    for kind in ["bad"] * 6 + ["good"]:
        await sender.push(*(sender.message(kind) for _ in range(100)))
    await _halt(site)
    await resumed(site, bury=1_000)

    moved = await drain(site, MESSAGES)

    assert moved is not None
    assert (moved.dead, moved.stored) == (600, 100)
    assert (await site.lanes.pauses.standings())["messages"].bury == 400, "what was not needed is there still"


async def test_an_allowance_is_one_for_all_workers_and_ends(queue: Queue) -> None:
    senders = [Sender(queue), Sender(queue, OTHER)]
    for sender in senders:
        await sender.push(*(sender.message("bad") for _ in range(300)))
    sites = [site_of(queue, ListStore(before=refuse_bad)) for _ in senders]
    await _halt(sites[0])
    for site in sites:
        await site.lanes.halted("messages")
    await sites[0].lanes.pauses.resume("messages", 400)
    for site in sites:
        async with asyncio.timeout(5):
            while await site.lanes.halted("messages"):
                await asyncio.sleep(0.02)

    moved = await drain(sites[0], MESSAGES)
    assert moved is not None
    assert moved.dead == 300
    other = await drain(sites[1], OTHER)

    assert other is not None
    assert other.dead == 300, "100 of the allowance, and 200 that are no run of 250"
    assert (await sites[0].lanes.pauses.standings())["messages"].bury == 0


async def test_what_a_strategy_fails_on_counts(queue: Queue) -> None:
    sender = Sender(queue)
    await sender.push(*(sender.message() for _ in range(300)))
    site = site_of(queue, ListStore())
    site.sieve = Sieve(Chain("failing", [("failing", Failing())]), only_streams=False)

    assert "250 records in a row were refused" in await halted(site)
    assert (await total(queue)).dead == 0


async def test_entries_that_are_no_frame_count_one_each(queue: Queue) -> None:
    site = site_of(queue, ListStore())
    await queue.push([Push(MESSAGES, "q", 1, [Frame(b"\x01garbage", 1_000)])], 10**6)
    moved = await drain(site, MESSAGES)
    assert moved is not None
    assert moved.dead == 1_000, "one entry, whatever it counts for"

    await queue.push([Push(MESSAGES, "q", 2, [Frame(b"\x01garbage", 1)] * 300)], 10**6)

    await halted(site)
    counts = await total(queue)
    assert counts.dead < 1_250
    assert (counts.dead + counts.pending, counts.balanced) == (1_300, True)


async def test_letters_that_are_replayed_in_vain_halt_nothing(queue: Queue) -> None:
    sender = Sender(queue)
    site = site_of(queue, ListStore(before=refuse_bad))
    await _halt(site)
    await resumed(site, bury=400)
    await sender.push(*(sender.message("bad") for _ in range(400)))
    await drain(site, MESSAGES)

    outcome = await replay(queue)
    await drain(site, MESSAGES)

    assert outcome.letters == 400
    counts = await total(queue)
    assert (counts.dead, counts.pending, counts.balanced) == (400, 0, True)


async def test_a_halt_that_the_queue_did_not_hear_is_told_it_later(queue: Queue) -> None:
    sender = Sender(queue)
    await sender.push(*(sender.message() for _ in range(300)))
    site = site_of(queue, ListStore(before=refuse_all))
    pauses = site.lanes.pauses
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(pauses), "halt", _no_answer)
        await halted(site)
    await halted(site)
    async with asyncio.timeout(5):
        while (await pauses.standings())["messages"].halt is None:
            await halted(site)
            await asyncio.sleep(0.02)


@pytest.fixture
def system(tmp_path: Path, queue_server: EmbeddedQueue) -> Iterator[System]:
    whole = System(tmp_path, queue_server)
    try:
        yield whole
    finally:
        whole.stop()


async def test_a_constraint_that_refuses_everything_halts_the_lane_of_two_workers(
    system: System, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        system.start_worker()
    await system.workers_alive(2)
    async with system.producer() as producer:
        await producer.message(session_id="s", role="user", content="first").stored(timeout=30)
        with sqlite3.connect(system.database) as connection:
            connection.execute(
                "CREATE TRIGGER refuse BEFORE INSERT ON messages BEGIN SELECT RAISE(ABORT, 'no more'); END"
            )
        connection.close()
        for number in range(3_000):
            producer.message(session_id=f"s{number % 50}", role="user", content=str(number))
        await producer.flush(until="queued", timeout=20)
        seen = await _until(lambda: _halt_of(system))
        assert seen.reason == "a trigger refuses the row"
        log = producer.log(level="info", event="sent", agent_id="a", data={})
        await log.stored(timeout=20)

        with sqlite3.connect(system.database) as connection:
            connection.execute("DROP TRIGGER refuse")
        connection.close()
        place = ("--redis-url", system.server.url, "--namespace", system.namespace)
        assert (await penstock(capsys, "lanes", "resume", "messages", *place)).code == 0
        counts = await system.drained()

    assert counts.balanced
    assert counts.stored + counts.dead == 3_002
    assert counts.dead < 500, "each of two workers may have buried up to 249 before it was too much"
    assert "lane halted" in (system.folder / "worker-0.log").read_text() + (system.folder / "worker-1.log").read_text()


async def _halt(site: Site) -> None:
    await site.lanes.pauses.halt(Halt("messages", HAND, "for a moment", 0))


async def _stored(queue: Queue) -> int:
    return (await total(queue)).stored


async def _never_queued(_: Partition, __: int) -> bool:
    return False


async def _no_answer(*_: object) -> bool:
    raise QueueUnavailable("no answer")


async def _halt_of(system: System) -> Halt | None:
    async with Queue(system.server.url, system.namespace) as queue:
        return (await Pauses(queue).standings())["messages"].halt


async def _until(look: Callable[[], Any], timeout_s: float = 20) -> Any:
    """What *look* finds, as soon as it finds anything."""
    async with asyncio.timeout(timeout_s):
        while not (found := await look()):
            await asyncio.sleep(0.02)
    return found
