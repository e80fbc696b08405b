"""Sends what the buffer holds: grouped by partition, in order, all partitions in one round trip."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from penstock.producer.buffer import Buffer
from penstock.producer.line import Batch, Line
from penstock.producer.lines import Lines
from penstock.producer.log import Log
from penstock.producer.overflow import producer_log
from penstock.producer.receipt import Entry, Placed
from penstock.producer.settings import ProducerSettings
from penstock.producer.sleeper import Sleeper
from penstock.producer.spool_opening import in_line
from penstock.producer.syncing import GONE_FAILURES, Syncer
from penstock.producer.trail import Pending
from penstock.wire.backoff import next_delay_s
from penstock.wire.entries import Pushed
from penstock.wire.errors import ConfigMismatch, PenstockError, PushLost, QueueFull, QueueUnavailable
from penstock.wire.ids import wall_clock_us
from penstock.wire.levels import FAST
from penstock.wire.tasks import end_task

if TYPE_CHECKING:
    from penstock.producer.spool import Spool

_FULL_RECORDS = 2_000
"""With this many records waiting the linger window ends early: more would not make larger frames."""


def _nobody() -> None:
    """Nobody listens."""


_NOTHING_SAID = "it is on its way"
"""Why something is not queued, where nothing stands against it."""


class Sender:
    """One task's work. It never gives a record up: whatever fails is logged and tried again.

    A partition has at most one push on its way, so a failure delays its records and never reorders them.
    """

    def __init__(
        self,
        log: Log,
        buffer: Buffer,
        settings: ProducerSettings,
        producer_id: str,
        *,
        spool: Spool | None = None,
        rng: random.Random | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.lines = Lines(buffer, lambda: log.partitions)
        self.tried = asyncio.Event()
        """The queue was asked once, with whatever result."""
        self.opened = asyncio.Event()
        """The queue has let us in: its number of partitions is known."""
        self.mismatch: ConfigMismatch | None = None
        """Why the queue will not have us, as long as that is so."""
        self.failure: Exception | None = None
        """An error nobody foresaw, as long as sending has not worked again."""
        self.failing_since_s: float | None = None
        """When sending as a whole began to fail, as long as it does."""
        self.gone = asyncio.Event()
        """The queue is away: it failed more than once, and has not worked again."""
        self.ended: Exception | None = None
        """What those who wait shall hear: nobody sends any more."""
        self.on_turn: Callable[[], None] = _nobody
        """Called when there was something to send."""
        self._log = log
        self._buffer = buffer
        self._settings = settings
        self.spool = spool
        self.producer_id = producer_id
        self._rng = rng or random.Random()  # noqa: S311 - jitter
        self._now_s = now_s
        self._sleeper = Sleeper(buffer, now_s)
        self._backing_off = False
        self._failures = 0
        self._reason = "it was not asked yet"
        self.syncer = Syncer(
            log,
            self.lines,
            settings,
            settle=self._settle,
            lost=self._note_lost,
            rng=self._rng,
            gone=self.gone,
            now_s=now_s,
        )

    @property
    def reason(self) -> str:
        """What the queue said last when it took nothing, or why it has not confirmed what it took."""
        unconfirmed = self.syncer.reason
        if not unconfirmed or unconfirmed == self._reason:
            return self._reason
        return unconfirmed if self._reason == _NOTHING_SAID else f"{self._reason}; {unconfirmed}"

    @property
    def partitions(self) -> int:
        """See `Queue.partitions`."""
        return self._log.partitions

    def ring(self) -> None:
        """Wake the sender. For the thread of its loop."""
        self._sleeper.ring()

    def look_again(self) -> None:
        """Something may be sent that was held back. The wait after a failure goes on."""
        if not self._backing_off:
            self._sleeper.ring()

    def hurry(self) -> None:
        """Send now: neither linger nor wait for the next try."""
        for line in self.lines:
            line.not_before_s = 0
        self._sleeper.hurry()

    def give_up(self, why: Exception) -> list[Entry]:
        """Every entry in memory that is not confirmed, encoded, in order; nobody sends them any more.

        Those who wait for them hear *why*.
        """
        self.ended = why
        self.opened.set()
        for line in self.lines:
            line.news.set()
        return self.lines.give_up()

    async def run(self) -> None:
        """Send until cancelled, and have what was sent confirmed where that is needed."""
        syncing = asyncio.create_task(self.syncer.run(), name="penstock-syncer")
        try:
            await self._send_on()
        finally:
            await end_task(syncing)  # a TaskGroup cancels once, which redis-py may swallow

    async def _send_on(self) -> None:
        if self.spool is not None:
            await self.spool.take_over()
        while True:
            self._buffer.overflow.drops.report()
            try:
                if not self.opened.is_set():
                    await self._open()
                await self._until_due()
                if await self._send():
                    self._note_success()
            except Exception as exc:  # noqa: BLE001 - the records wait for whoever mends it
                await self._wait_after(exc)

    async def _open(self) -> None:
        try:
            await self._log.open(self._settings.partitions)
            self.mismatch = None
            if self.spool is None:
                self.opened.set()
            else:
                await self._open_spool(self.spool)
        except ConfigMismatch as exc:
            self.mismatch = exc
            raise
        finally:
            self.tried.set()

    async def _open_spool(self, spool: Spool) -> None:
        async with spool.turn:
            if spool.may_take_more:
                await spool.take_over()
            for where, records in (await in_line(self._log, spool, self._settings.backlog_records)).items():
                self.lines.of(where).spooled = records
            self.opened.set()

    # -- when -----------------------------------------------------------------------------------

    async def _until_due(self) -> None:
        """Wait for a first record and the linger window after it, or for a line to become due.

        A spool from which all was sent is removed first, since for those who look its records wait, and others taken.
        """
        due_s = min((line.due_s() for line in self.lines), default=math.inf)
        if due_s <= self._now_s() or (self.spool is not None and (self.spool.is_spent or self.spool.is_out_of_line)):
            return
        if not self._buffer.entries:
            await self._sleeper.sleep(due_s, records=1)
        if self._buffer.entries:
            linger_s = self._settings.linger_ms / 1000
            await self._sleeper.sleep(min(due_s, self._now_s() + linger_s), records=_FULL_RECORDS)

    # -- what -----------------------------------------------------------------------------------

    async def _send(self) -> bool:
        """One push of every line that is due, in one round trip; False when there was none."""
        self.lines.sort()
        self.on_turn()
        if self.spool is not None:
            await self._fetch(self.spool)
        now = self._now_s()
        lines = [line for line in self.lines if line.due_s() <= now and not line.needs_spool]
        heads = [(line, line.next_batch(self.producer_id)) for line in lines]
        # A batch that was just cut may have to wait; then its line is not due any more.
        heads = [(line, batch) for line, batch in heads if line.may_send(batch)]
        if not heads:
            return False
        replies = await self._push(heads)
        rings = []
        for (line, batch), reply in zip(heads, replies, strict=True):
            if isinstance(reply, PushLost):
                self._note_lost(line, reply.upto)
            elif isinstance(reply, Exception):
                self._note_refused(line, reply)
            else:
                self._confirm(line, batch, reply)
                if reply.generation:
                    rings.append((line.partition, reply.generation))
        if rings:
            # A lost ring costs a second: workers also sweep.
            with contextlib.suppress(PenstockError):
                await self._log.ring(rings)
        for reply in replies:
            if isinstance(reply, QueueUnavailable):
                raise reply
        return True

    async def _push(self, heads: Sequence[tuple[Line, Batch]]) -> list[Pushed | Exception]:
        for line, _ in heads:
            line.sending = True
        try:
            pushes = [line.trail.after(batch.push) for line, batch in heads]
            return await self._log.push(pushes, self._settings.backlog_records)
        finally:
            for line, _ in heads:
                line.sending = False

    async def _fetch(self, spool: Spool) -> None:
        """Take the next push of each line out of the spool where it lies there, and remove there what is sent."""
        if spool.is_out_of_line:
            await self._open_spool(spool)
        now = self._now_s()
        wanted = [line for line in self.lines if line.needs_spool and line.due_s() <= now]
        if not wanted and not spool.is_spent:
            return
        try:
            found = await spool.next(line.partition for line in wanted)
        except PenstockError:  # said there
            found = {}
            self.compare()
        for line in wanted:
            if line.partition in found:
                run, place = found[line.partition]
                line.batch = Batch(run.push, (), 0, run.records, level=run.level, place=place)
            elif line.spooled:
                line.failures += 1
                line.not_before_s = self._now_s() + self._delay_s(line.failures)

    def compare(self) -> None:
        """Leave out what a damaged file of the spool has taken with it."""
        if self.spool is None:
            return
        for line in self.lines:
            lost = line.spooled - self.spool.records_of(line.partition)
            if lost:
                line.spooled -= lost
                line.pushed += lost - _kept_in_memory(line, self.spool)
                line.news.set()

    def _confirm(self, line: Line, batch: Batch, pushed: Pushed) -> None:
        pending = Pending(batch.push.number, batch, pushed, wall_clock_us())
        if batch is line.batch:
            line.batch = None
            line.pushed += batch.records
        line.failures, line.refusal, line.last = 0, None, Placed(line.partition, pushed.entry_id, pending.at_us)
        line.news.set()
        if batch.level == FAST:
            self._settle(line, pending)
            return
        line.trail.add(pending)
        if batch.place is not None and self.spool is not None:
            self.spool.passed(line.partition, batch.place)
        self.syncer.ring()

    def _settle(self, line: Line, pending: Pending) -> None:
        """The queue has a batch, and keeps it as well as it must: tell those who wait, and forget it."""
        batch = pending.batch
        line.news.set()
        batch.settle(pending.pushed, pending.at_us)  # the spool has the entries of what lies there
        self._buffer.release(len(batch.entries), batch.size, line.partition)
        if batch.place is not None and self.spool is not None:
            line.spooled -= batch.records
            self.spool.confirmed(line.partition, batch.place, batch.places(pending.pushed, pending.at_us))
        if batch.level != FAST:
            self.look_again()  # what may not follow it now may

    # -- what goes wrong ------------------------------------------------------------------------

    def _note_lost(self, line: Line, upto: int) -> None:
        """The queue server has forgotten what it had taken from a line and not confirmed."""
        records = line.trail.lose(upto)
        if records:
            producer_log().warning(
                "queue server lost records; sending them again", partition=str(line.partition), records=records
            )
            self.look_again()

    def _note_refused(self, line: Line, exc: Exception) -> None:
        """Let one line wait; the others go on."""
        if isinstance(exc, QueueUnavailable):
            return
        line.failures += 1
        line.refusal = exc
        line.news.set()
        line.not_before_s = self._now_s() + self._delay_s(line.failures)
        self._reason = str(exc)
        if isinstance(exc, QueueFull):
            self._buffer.refuse(line.partition, line.left, self.partitions)
        if line.failures == 1:
            log = producer_log()
            say = log.warning if isinstance(exc, QueueFull) else log.error
            say("partition takes nothing; its records wait", partition=str(line.partition), reason=str(exc))

    async def _wait_after(self, exc: Exception) -> None:
        """Let everything wait: the queue is away, or something unforeseen happened."""
        self._failures += 1
        if self.failing_since_s is None:
            self.failing_since_s = self._now_s()
        if self._failures >= GONE_FAILURES:
            self.gone.set()
        self.on_turn()
        foreseen = isinstance(exc, PenstockError)
        self.failure, self._reason = (None if foreseen else exc), f"{exc}" if foreseen else repr(exc)
        self._buffer.why_full = "memory_gate" if isinstance(exc, QueueFull) else "buffer_full"
        # A mistaken setting may be there for hours: said again at each doubling. A memory gate speaks for itself.
        if self._failures & (self._failures - 1) == 0 and not isinstance(exc, QueueFull):
            log = producer_log()
            say = log.warning if isinstance(exc, QueueUnavailable) else log.error
            say("cannot send; records wait", reason=self._reason, tries=self._failures, exc_info=not foreseen)
        self._backing_off = True
        await self._sleeper.sleep(self._now_s() + self._delay_s(self._failures), records=math.inf)
        self._backing_off = False

    def _note_success(self) -> None:
        if self._failures and self._buffer.why_full != "memory_gate":
            producer_log().info("sending again", after_failures=self._failures)
        self._failures, self.failure, self.failing_since_s = 0, None, None
        self._buffer.why_full = "buffer_full"
        if self._reason != _NOTHING_SAID:
            refusal = next((line.refusal for line in self.lines if line.refusal is not None), None)
            self._reason = _NOTHING_SAID if refusal is None else str(refusal)
        self.gone.clear()

    def _delay_s(self, failures: int) -> float:
        return next_delay_s(failures, self._settings.retry_base_ms, self._settings.retry_cap_ms, self._rng)


def _kept_in_memory(line: Line, spool: Spool) -> int:
    """How many records of a damaged file are in memory as pushes, and go on from there."""
    batches = [*line.trail.batches(), *([line.batch] if line.batch else ())]
    kept = [batch for batch in batches if batch.place is not None and not spool.holds(batch.place)]
    for batch in kept:
        batch.place = None
    return sum(batch.records for batch in kept)
