"""A line's order through memory, spool and queue, whatever fails and whenever the process dies."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from penstock.producer.barriers import all_sent
from penstock.producer.errors import RecordDropped
from penstock.producer.line import Batch, Line
from penstock.producer.receipt import Placed, Ticket
from penstock.producer.sender import Sender
from penstock.producer.spiller import Spiller
from penstock.producer.spool import Spool
from penstock.producer.spool_file import Draft, SpoolDamaged
from penstock.producer.spool_opening import in_line
from penstock.producer.spool_shelf import Place
from penstock.producer.trail import Pending
from penstock.wire.entries import Confirmed, Push, Pushed
from penstock.wire.errors import QueueFull, QueueUnavailable
from penstock.wire.frames import decode_frame
from penstock.wire.keys import Partition
from penstock.wire.levels import FAST, FSYNC
from penstock.wire.records import Message
from penstock.wire.tasks import end_task
from tests.unit.producer_support import AT_ONCE, FakeLog, roomy, ticket


class ManyProducersLog(FakeLog):
    """Knows the pushes of each producer by their numbers, as the queue does."""

    def __init__(self) -> None:
        super().__init__()
        self.known: defaultdict[tuple[Partition, str], int] = defaultdict(int)

    def _append(self, push: Push, full: set[int]) -> Pushed | Exception:
        if push.partition.number in full:
            return QueueFull("full")
        who = push.partition, push.producer_id
        if push.number > self.known[who]:
            self.known[who] = push.number
            for frame in push.frames:
                self.held[push.partition] += [one for one in decode_frame(frame.body) if isinstance(one, Message)]
        return Pushed(0, f"1-{1_000 + push.number}")


class Life:
    """A producer from its start to its end, with its spool in a folder that outlives it."""

    def __init__(self, log: ManyProducersLog, folder: Path, name: str) -> None:
        self.log = log
        self.buffer = roomy()
        self.spool = Spool(folder, "test", 10**9)
        self.sender = Sender(log, self.buffer, AT_ONCE, name, spool=self.spool, rng=random.Random(1))
        self.spiller = Spiller(self.sender, self.spool, self.buffer, 10**6)
        self.buffer.ring = self.sender.ring
        self.task = asyncio.create_task(self.sender.run())

    async def spill(self) -> None:
        async with self.spool.turn:
            await self.spiller._put(self.spiller._portions(everything=True))

    async def die(self) -> None:
        """As SIGKILL leaves it: nothing more is put into the spool, and nothing taken out."""
        await self._end_sender()
        await self.spool._apart(lambda: None)
        for shelf in self.spool._shelves:
            shelf.file.close()
        if self.spool._thread is not None:
            self.spool._thread.shutdown()

    async def close(self) -> None:
        await self._end_sender()
        await self.spiller.finish()
        assert self.sender.give_up(RecordDropped()) == []
        await self.spool.close()

    async def _end_sender(self) -> None:
        await end_task(self.task)
        self.log._busy = False


SCRIPT = st.lists(
    st.one_of(st.sampled_from(["ok", "away", "away", "lost", "loading"]), st.sets(st.integers(0, 1), min_size=1)),
    max_size=6,
)
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.lists(st.integers(0, 3), min_size=1, max_size=5)),
        st.tuples(st.just("spill"), st.none()),
        st.tuples(st.just("turns"), st.integers(1, 8)),
        st.tuples(st.just("fail"), SCRIPT),
        st.tuples(st.just("die"), st.integers(0, 3)),
        st.tuples(st.just("close"), st.integers(0, 3)),
    ),
    max_size=14,
)


class World:
    """One life after another on one folder, and what each session was handed over."""

    def __init__(self, folder: Path) -> None:
        self.log = ManyProducersLog()
        self.handed: defaultdict[str, list[Ticket]] = defaultdict(list)
        self.mortal: list[Ticket] = []
        """What was in memory alone when a producer died."""
        self._folder = folder
        self._lives = 0
        self.life = self._next()

    def _next(self) -> Life:
        self._lives += 1
        return Life(self.log, self._folder, f"p{self._lives}")

    async def add(self, sessions: Sequence[int]) -> None:
        for session in sessions:
            sent = self.handed[f"s{session}"]
            sent.append(ticket(f"s{session}", str(len(sent))))
            self.life.buffer.add(sent[-1])

    async def spill(self, _: None) -> None:
        await self.life.spill()

    async def turns(self, turns: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(0.0005)

    async def fail(self, script: Sequence[str | set[int]]) -> None:
        self.log.script.extend(script)

    async def die(self, refusals: int) -> None:
        await self.life.die()
        every = (one for sent in self.handed.values() for one in sent)
        self.mortal += [one for one in every if one.fate is None and not hasattr(one, "path")]
        await self._go_on(refusals)

    async def close(self, refusals: int) -> None:
        await self.life.close()
        await self._go_on(refusals)

    async def _go_on(self, refusals: int) -> None:
        self.log.opens.extend([QueueUnavailable("away")] * refusals)
        self.life = self._next()

    async def end(self) -> None:
        """Have all that is left sent."""
        self.log.script.clear()
        self.log.opens.clear()
        async with asyncio.timeout(30):
            await self.life.sender.opened.wait()
            await all_sent(self.life.sender)
        await self.life.close()

    def missing(self) -> list[Ticket]:
        """What the queue does not have. What it has must be there once, and in order."""
        missing = []
        for session, sent in self.handed.items():
            found = [int(content or "") for content in self.log.contents(session)]
            assert found == sorted(set(found))
            missing += [one for number, one in enumerate(sent) if number not in found]
        return missing


@settings(max_examples=60, deadline=None)
@given(operations=OPERATIONS)
def test_what_was_spooled_comes_once_and_in_order_through_failures_deaths_and_restarts(
    operations: Sequence[tuple[str, object]],
) -> None:
    """Only what was in memory alone may be missing after a death."""

    async def live() -> None:
        with tempfile.TemporaryDirectory() as name, capture_logs():
            world = World(Path(name))
            for what, with_ in operations:
                await getattr(world, what)(with_)
            await world.end()

            assert [one for one in world.missing() if one not in world.mortal] == []
            assert list(Path(name).iterdir()) == []

    asyncio.run(live())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


async def waits(life: Life, log: ManyProducersLog) -> list[Ticket]:
    """Three records of one session in the spool, the queue away."""
    log.script.extend(["away"] * 10**4)
    tickets = [ticket("s", str(number)) for number in range(3)]
    for one in tickets:
        life.buffer.add(one)
    await life.sender.opened.wait()
    await life.spill()
    return tickets


async def test_spooling_frees_the_memory_and_a_receipt_that_is_held_settles(folder: Path) -> None:
    log = ManyProducersLog()
    with capture_logs():
        life = Life(log, folder, "p")
        tickets = await waits(life, log)

        assert (life.buffer.records, life.buffer.bytes, life.spool.records) == (0, 0, 3)
        assert {one.packed for one in tickets} == {b""}
        assert "in the spool at" in repr(tickets[0])
        log.script.clear()
        life.sender.hurry()
        await tickets[-1].decided()
        assert all(isinstance(one.fate, Placed) for one in tickets)
        await life.close()
    assert log.contents("s") == ["0", "1", "2"]


async def test_nothing_is_kept_for_receipts_that_nobody_holds(folder: Path) -> None:
    log = ManyProducersLog()
    with capture_logs():
        life = Life(log, folder, "p")
        log.script.extend(["away"] * 10**4)
        for number in range(100):
            life.buffer.add(ticket("s", str(number)))
        await life.sender.opened.wait()
        await life.spill()

        assert [shelf.watched for shelf in life.spool._shelves] == [{}]
        await life.close()


async def test_a_cancelled_wait_leaves_the_spool_as_it_is(folder: Path) -> None:
    log = ManyProducersLog()
    with capture_logs():
        life = Life(log, folder, "p")
        await waits(life, log)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(all_sent(life.sender), 0.01)
        assert life.spool.records == 3
        await life.close()
    assert [path.name for path in folder.iterdir()] == ["test.0.spool"]


async def test_the_bound_keeps_the_rest_of_a_line_in_memory_and_in_order(folder: Path) -> None:
    log = ManyProducersLog()
    with capture_logs() as lines:
        life = Life(log, folder, "p")
        life.spool._max_bytes = 500
        await waits(life, log)
        for number in range(3, 40):
            life.buffer.add(ticket("s", str(number)))
        await life.spill()
        assert life.buffer.records == 37
        log.script.clear()
        life.sender.hurry()
        await all_sent(life.sender)
        await life.close()

    assert log.contents("s") == [str(number) for number in range(40)]
    reason = next(line["reason"] for line in lines if line["event"] == "the spool cannot be used")
    assert "of 500 bytes" in reason
    assert "raise spool_bytes" in reason


async def test_a_spool_that_all_was_sent_from_is_removed_though_nothing_more_is_sent(folder: Path) -> None:
    log = ManyProducersLog()
    with capture_logs():
        left = Life(log, folder, "p")
        await waits(left, log)
        await left.die()
        log.script.clear()
        life = Life(log, folder, "q")
        async with asyncio.timeout(5):
            while list(folder.glob("*.spool")):
                await asyncio.sleep(0.001)
        await life.close()
    assert log.contents("s") == ["0", "1", "2"]


async def test_a_file_that_is_being_filled_is_not_removed_though_all_before_was_sent(folder: Path) -> None:
    spool, where = Spool(folder, "test", 10**9), Partition("messages", 0)
    first, second = (Draft(where, "p", number, 1, 1, FAST, ["s", ticket().packed]) for number in (1, 2))
    with capture_logs():
        [place] = await spool.put([first], 2, "away")
        spool.confirmed(where, place, ())
        await asyncio.gather(spool.next(()), spool.put([second], 2, "away"))

        run, _ = (await spool.next([where]))[where]

        assert run.push.number == 2
        await spool.close()


async def test_what_is_sent_from_a_full_disk_leaves_the_spool_when_its_level_holds(folder: Path) -> None:
    class Syncing(FakeLog):
        """Says twice that it has not synced yet."""

        async def confirm(self, producers: Mapping[Partition, str], levels: int) -> Confirmed:
            self.confirmed.append(levels)
            seen = {where: self._seen[where] for where in producers}
            return Confirmed(seen, {FSYNC: seen if len(self.confirmed) > 2 else {}}, "")

    spool, where = Spool(folder, "test", 10**9), Partition("messages", -1)
    log = Syncing()
    with capture_logs():
        await spool.put([Draft(where, "", 0, 1, 1, FSYNC, ["s", ticket().packed])], 0, "away")
        spool._shelves[0].file._connection.execute("PRAGMA query_only = 1")  # refuses as a full disk does
        assert await in_line(log, spool, 100) == {}
        await spool.close()

    assert log.confirmed == [FSYNC] * 3


async def test_what_is_put_into_a_file_that_is_set_aside_meanwhile_stays_in_memory(folder: Path) -> None:
    spool, where = Spool(folder, "test", 10**9), Partition("messages", 0)
    first, second = (Draft(where, "p", number, 1, 1, FAST, ["s", ticket().packed]) for number in (1, 2))
    with capture_logs():
        await spool.put([first], 2, "away")
        spool._own.file._connection.execute("UPDATE runs SET body = 'none'")  # type: ignore[union-attr] # it was made
        read, put = await asyncio.gather(spool.next([where]), spool.put([second], 2, "away"), return_exceptions=True)

        assert (type(read), type(put)) == (SpoolDamaged, SpoolDamaged)
        assert spool.records == 0
        await spool.put([second], 2, "away")
        assert spool.records_of(where) == 1
        await spool.close()


async def test_an_error_nobody_foresaw_leaves_records_in_memory_and_is_said(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = ManyProducersLog()
    with capture_logs() as lines:
        life = Life(log, folder, "p")
        log.script.extend(["away"] * 10**4)
        life.buffer.add(ticket("s", "0"))
        await life.sender.opened.wait()
        monkeypatch.setattr(life.spool, "put", broken)  # a bug of ours
        await life.spiller.finish()
        monkeypatch.undo()
        log.script.clear()
        await all_sent(life.sender)
        await life.close()

    assert log.contents("s") == ["0"]
    assert [str(line["exc_info"]) for line in lines if line["event"].startswith("cannot put")] == ["a bug"]


async def broken(*_: object) -> list[Place]:
    raise RuntimeError("a bug")


def test_nothing_is_sent_behind_a_trail_that_is_full_of_what_lies_in_the_spool() -> None:
    """Such pushes are in memory, and the buffer does not count them."""
    line = Line(Partition("messages", 0))
    push = Push(line.partition, "p", 1, [], ())
    place = Place(None, 1, 1, 10**8)  # type: ignore[arg-type] # nobody looks there
    line.trail.add(Pending(1, Batch(push, (), 0, 1, level=FSYNC, place=place), Pushed(0, "1-0"), 0))
    line.spooled = 1
    line.waiting.append(ticket())

    assert line.due_s() == math.inf
    line.trail.confirm(lambda _: 1)
    line.spooled = 0
    assert line.due_s() == 0


async def test_of_very_many_files_that_were_left_some_are_taken_at_a_time_and_all_are_sent(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.producer.spool._TAKEN_AT_ONCE", 3)
    log = ManyProducersLog()
    with capture_logs():
        lives = [Life(log, folder, f"p{number}") for number in range(8)]
        for number, left in enumerate(lives):
            log.script.extend(["away"] * 10**4)
            left.buffer.add(ticket("s", str(number)))
            await left.sender.opened.wait()
            await left.spill()
        for left in lives:
            await left.die()
        log.script.clear()
        life = Life(log, folder, "q")
        async with asyncio.timeout(10):
            while list(folder.glob("*.spool")):
                assert len(life.spool._shelves) <= 3
                await asyncio.sleep(0)
        await life.close()
    assert sorted(content or "" for content in log.contents("s")) == [str(number) for number in range(8)]
