"""Decides what goes from memory into the spool, and when; puts it there in rounds."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from penstock.producer.buffer import Buffer
from penstock.producer.line import Batch, Line, runs_of
from penstock.producer.overflow import producer_log
from penstock.producer.receipt import Entry
from penstock.producer.sender import Sender
from penstock.producer.spool import Spool
from penstock.producer.spool_file import UNCUT, Draft, SpoolFailed
from penstock.producer.spool_shelf import Place
from penstock.wire.keys import Partition
from penstock.wire.levels import FAST

ROUND_S = 0.25
"""A round is a transaction and a sync of the disk, so records gather for this long."""

_RUN_BYTES = 150
"""What a run takes on disk beside its records."""

HALF = 0.5
"""A buffer fuller than this begins a round early; and while what it holds grows old, the queue counts as slow."""


class Portion(NamedTuple):
    """Entries that go into the spool together, and what they become there."""

    draft: Draft
    entries: Sequence[Entry]
    line: Line | None
    """None before the number of partitions is known."""
    batch: Batch | None = None
    """The line's batch, if that is what it is."""


class Spiller:
    """One task's work, beside the sender's: that one may wait long for an answer.

    A record that waits is put on disk when its line, or the whole queue, has got nowhere for `spool_after_ms`, or when
    the buffer is half full of records that are older. What is on its way goes first, under its number.
    """

    def __init__(
        self,
        sender: Sender,
        spool: Spool,
        buffer: Buffer,
        after_s: float,
        *,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sender = sender
        self._spool = spool
        self._buffer = buffer
        self._after_s = after_s
        self._now_s = now_s
        self._news = asyncio.Event()
        self._alarm = asyncio.Event()
        self._ended = False
        self._progress: dict[Partition, tuple[int, float]] = {}
        self._handed_over: deque[tuple[float, int]] = deque()
        self._shut_out_since_s: float | None = None
        sender.on_turn = self._news.set

    def alarm(self) -> None:
        """The buffer is half full. For the thread of the loop."""
        self._alarm.set()
        self._news.set()

    async def run(self) -> None:
        """Put records into the spool when it is time, until `finish`."""
        while not self._ended:
            await self._pause()
            if not self._ended:
                await self._safely(everything=False)

    async def finish(self) -> None:
        """Put everything that is left in memory there, as far as there is room. The sender has ended."""
        self._ended = True
        self._alarm.set()
        self._news.set()
        await self._safely(everything=True)

    async def _safely(self, *, everything: bool) -> None:
        try:
            await (self._all() if everything else self.round())
        except Exception as exc:  # noqa: BLE001 - what is not there waits in memory, as without a spool
            producer_log().error("cannot put records into the spool", exc_info=exc)

    async def _all(self) -> None:
        async with self._spool.turn:
            await self._put(self._portions(everything=True))

    async def round(self) -> None:
        """Put there what it is time for."""
        async with self._spool.turn:
            await self._put(self._portions(everything=False))

    # -- when -----------------------------------------------------------------------------------

    async def _pause(self) -> None:
        """Wait for the next round; for as long as all is well, until there is something to send."""
        sender = self._sender
        if sender.opened.is_set() and sender.failing_since_s is None and not self._buffer.records:
            self._progress.clear()
            self._handed_over.clear()
            self._news.clear()
            await self._news.wait()
        self._alarm.clear()
        if self._buffer.fill() < HALF:  # else the last round could do nothing about it
            self._buffer.alarm_at(HALF)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ROUND_S):
                await self._alarm.wait()

    def _portions(self, *, everything: bool) -> Iterator[list[Portion]]:
        """What it is time for, each line's in its order."""
        sender, now = self._sender, self._now_s()
        everything = everything or self._has_passed(sender.failing_since_s, now)
        if sender.opened.is_set():
            sender.lines.sort()
            everything = self._is_slow(now) or everything
            unconfirmed = self._has_passed(sender.syncer.failing_since_s, now)
            for line in list(sender.lines):
                stuck = self._is_stuck(line, now)
                if everything or stuck:
                    yield _portions_of(line, sender.producer_id)
                elif unconfirmed:
                    yield _portions_of_batches(line.trail.batches(), line)
        elif self._is_shut_out(now) or everything:
            sender.lines.unsorted += self._buffer.take()
            yield from _unsorted_portions(sender.lines.unsorted)

    def _is_shut_out(self, now: float) -> bool:
        """Whether records have waited for so long for a queue that has not let us in. Its first answer may be slow."""
        if not self._buffer.records:
            self._shut_out_since_s = None
        elif self._shut_out_since_s is None:
            self._shut_out_since_s = now
        return self._has_passed(self._shut_out_since_s, now)

    def _has_passed(self, since_s: float | None, now: float) -> bool:
        """Whether something began, and so long ago that records are not left in memory for it."""
        return since_s is not None and now - since_s >= self._after_s

    def _is_stuck(self, line: Line, now: float) -> bool:
        """Whether a line has had something to send, and got nowhere, for so long."""
        pushed, since = self._progress.get(line.partition, (-1, now))
        if line.pushed != pushed or not line.unpushed():
            self._progress[line.partition] = line.pushed, now
            return False
        return now - since >= self._after_s

    def _is_slow(self, now: float) -> bool:
        """Whether the buffer is half full although much of it is older than that."""
        seen = self._handed_over
        seen.append((now, self._buffer.released + self._buffer.records))
        while len(seen) > 1 and now - seen[1][0] >= self._after_s:
            seen.popleft()
        at, handed_over = seen[0]
        return self._buffer.fill() >= HALF and now - at >= self._after_s and self._buffer.released < handed_over

    # -- what -----------------------------------------------------------------------------------

    async def _put(self, lines: Iterator[list[Portion]]) -> None:
        chosen = [portions for portions in lines if portions]
        if not chosen:
            return
        fitting = self._spool.fitting([portion.draft for portion in portions] for portions in chosen)
        drafts = {id(draft) for draft in fitting}
        portions = [each for each in itertools.chain.from_iterable(chosen) if id(each.draft) in drafts]
        if not portions:
            return
        held = {portion.line for portion in portions if portion.line is not None}
        del chosen
        for line in held:
            line.held = True
        try:
            partitions = self._sender.partitions if held else 0
            places = await self._spool.put([portion.draft for portion in portions], partitions, self._sender.reason)
        except SpoolFailed:  # said there; the records wait in memory, as ever
            self._sender.compare()
            return
        else:
            await self._leave(portions, places)
        finally:
            for line in held:
                line.held = False
            self._sender.look_again()

    async def _leave(self, portions: list[Portion], places: list[Place]) -> None:
        """Let go, in memory, of what is on disk."""
        written = {id(entry) for portion in portions if portion.line is None for entry in portion.entries}
        if written:
            self._sender.lines.unsorted = [entry for entry in self._sender.lines.unsorted if id(entry) not in written]
        for place in places:
            portion = portions.pop(0)
            where = portion.draft.where
            if portion.batch is None or portion.line is None:
                size = sum(entry.size for entry in portion.entries)
                self._spool.watch(where, place, portion.entries)
                self._buffer.release(len(portion.entries), size, where)
                if portion.line is not None:
                    portion.line.spooled += len(portion.entries)
                    for _ in range(len(portion.entries)):
                        portion.line.waiting.popleft()
            else:
                self._leave_batch(portion.line, portion.batch, place)
            del portion
            self._spool.forget_unheld(where, place)
            await asyncio.sleep(0)  # a large round shall not hold up the loop

    def _leave_batch(self, line: Line, batch: Batch, place: Place) -> None:
        line.spooled += batch.records
        batch.place = place
        if line.batch is not batch and batch not in line.trail:  # the answer came while it was written
            line.spooled -= batch.records
            self._spool.confirmed(line.partition, place, ())
            return
        self._spool.watch(line.partition, place, batch.entries)
        self._buffer.release(len(batch.entries), batch.size, line.partition)
        batch.entries, batch.size = (), 0
        if batch in line.trail:
            # Else it would be taken out again, and count twice: for what lies behind it, too.
            self._spool.passed(line.partition, place)
        elif not line.sending:
            line.batch = None


def _portions_of_batches(batches: Iterable[Batch], line: Line) -> list[Portion]:
    found = []
    for batch in batches:
        if batch.place is None:
            push = batch.push
            draft = _draft(line.partition, push.producer_id, push.number, batch.entries)
            # Looked at now: settled while they are written, entries have their records no more.
            draft = draft._replace(items=list(draft.items))
            found.append(Portion(draft, batch.entries, line, batch))
    return found


def _portions_of(line: Line, producer_id: str) -> list[Portion]:
    """All of a line that is in memory alone."""
    found = _portions_of_batches([*line.trail.batches(), *([line.batch] if line.batch else ())], line)
    runs = runs_of(line.waiting, line.partition.lane)
    found += (Portion(_draft(line.partition, producer_id, line.next_number(), run), run, line) for run in runs)
    return found


def _unsorted_portions(entries: Sequence[Entry]) -> Iterator[list[Portion]]:
    lanes: dict[str, list[Entry]] = {}
    for entry in entries:
        lanes.setdefault(entry.lane, []).append(entry)
    for lane, of_lane in lanes.items():
        yield [Portion(_draft(Partition(lane, UNCUT), "", 0, run), run, None) for run in runs_of(of_lane, lane)]


def _draft(where: Partition, producer_id: str, number: int, entries: Sequence[Entry]) -> Draft:
    size, level = _RUN_BYTES, FAST
    for entry in entries:
        size += len(entry.packed) + len(entry.key)
        level |= entry.level
    return Draft(where, producer_id, number, len(entries), size, level, _items(entries))


def _items(entries: Sequence[Entry]) -> Iterator[str | bytes]:
    for entry in entries:
        yield entry.key
        yield entry.packed
