"""The bounded memory between the calls and the sender."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from penstock.producer.errors import ProducerClosed
from penstock.producer.hot import Shares
from penstock.producer.receipt import Entry, Ticket
from penstock.wire.keys import Partition, partition_of

if TYPE_CHECKING:
    from penstock.producer.overflow import Overflow
    from penstock.producer.stream import Run

HIGH_MARK, LOW_MARK = 0.75, 0.5
"""`Producer.ready` waits above the high mark, until the buffer is below the low one."""


_MOST_ENDED = 4_096
"""Ended streams that a flush asks about one by one; about 1 MB. Those before count by their place alone."""

_CLOSED = "the producer is not started, or closed; use it inside its `with` block"


def _no_bell() -> None:
    """Nobody sleeps yet."""


class Buffer:
    """Entries that the queue has not confirmed, bounded by records and by bytes.

    `records` and `bytes` count them from `add` until `release`, so also while they are sent.
    One record larger than the limit is taken when nothing else is there. It starts closed.
    """

    def __init__(self, max_records: int, max_bytes: int, overflow: Overflow) -> None:
        self.max_records = max_records
        self.max_bytes = max_bytes
        self.overflow = overflow
        self.shares = Shares(max_records, max_bytes)
        """What partitions hold that the queue refuses."""
        self.why_full = "buffer_full"
        """What a record is dropped for, if it is."""
        self.entries: list[Entry] = []
        """Not taken by the sender yet."""
        self.records = 0
        self.bytes = 0
        self.closed = True
        self.ring: Callable[[], None] = _no_bell
        """Wakes the sender."""
        self.on_room: Callable[[], None] = _no_bell
        """Called when the buffer falls below its low mark."""
        self.ended: dict[Ticket, None] = {}
        """Receipts of streams that ended since the last flush; of very many the latest."""
        self.alarm: Callable[[], None] = _no_bell
        """Wakes the spool."""
        self.released = 0
        """How many records were ever released."""
        self._growing: list[Run] = []
        self._look_records: float = 0
        """Below this and the next an entry is taken without a further look; above is whatever there is to look at."""
        self._look_bytes: float = 0
        self._free_records = max_records
        """Below this nothing is looked at; 0 while each record's partition must be."""
        self._wake_records: float = math.inf
        self._wake_bytes: float = math.inf
        self._due_records: float = math.inf
        self._due_bytes: float = math.inf
        self._alarm_share: float = math.inf
        self._taken_records = 0
        self._taken_bytes = 0

    # -- the calls' side ------------------------------------------------------------------------

    def add(self, entry: Entry) -> bool:
        """Take *entry*; False when the overflow policy dropped it.

        Raises:
            BufferFull: The policy says so.
            ProducerClosed: Nothing is taken any more.
        """
        # First: a collection of garbage in that call may log, and so add another entry (see `SharedBuffer`).
        size = entry.size
        records, total = self.records + 1, self.bytes + size
        if records >= self._look_records or total >= self._look_bytes:
            return self._look_and_add(entry)
        self.records, self.bytes = records, total
        self.entries.append(entry)
        return True

    def _look_and_add(self, entry: Entry) -> bool:
        size = entry.size
        crowded = self.records >= self._free_records or self.bytes + size > self.max_bytes or self.closed
        if crowded and not self._let_in(entry, size):
            return False
        self.append(entry)
        return True

    def _let_in(self, entry: Entry, size: int) -> bool:
        where = self.shares.partition_of(entry) if self.shares else None
        taken = not self.records or self.has_room(size, where) or self.closed or self.overflow.admit(self, size, where)
        if self.closed:  # perhaps only while the policy waited
            raise ProducerClosed(_CLOSED)
        if taken and where is not None:
            self.shares.grow(where, size)
        return taken

    def leave_out(self) -> None:
        """Count a record that is not to be taken, as the producer's strategy says.

        Raises:
            ProducerClosed: As `add`.
        """
        self.check_open()
        self.overflow.drops.note("strategy")

    def check_open(self) -> None:
        """Raise `ProducerClosed` when nothing is taken."""
        if self.closed:
            raise ProducerClosed(_CLOSED)

    def append(self, entry: Entry) -> None:
        """Take *entry* though there be no room: for the end of a stream, which is small and must not be lost.

        In a `SharedBuffer` the caller holds the lock.
        """
        size = entry.size
        self.entries.append(entry)
        self.records = records = self.records + 1
        self.bytes = total = self.bytes + size
        if records >= self._wake_records or total >= self._wake_bytes:
            self._wake()

    def note_ended(self, receipt: Ticket) -> None:
        """Have the next flush wait for a stream as a whole."""
        if len(self.ended) >= _MOST_ENDED:
            self.ended.pop(next(iter(self.ended)), None)
        self.ended[receipt] = None

    def forget_ended(self, receipts: Iterable[Ticket]) -> None:
        """They are settled: no flush has to wait for them."""
        for receipt in receipts:
            self.ended.pop(receipt, None)

    def append_growing(self, run: Run) -> None:
        """Have *run* sealed when the sender takes it. Call it beside `add` or `append`."""
        self._growing.append(run)

    def has_room(self, size: int, where: Partition | None = None) -> bool:
        """Whether a record of *size* bytes, of a refused partition perhaps, fits now."""
        fits = self.records < self.max_records and self.bytes + size <= self.max_bytes and not self.closed
        return fits and (where is None or self.shares.has_room(where, size))

    def extend(self, entry: Run, size: int) -> bool:
        """`grow` if there is room; False, and nothing is changed, if not. One call, since each token comes by here."""
        total = self.bytes + size
        if total > self.max_bytes or self.records >= self.max_records or self.closed:
            return False
        entry.size += size
        self.bytes = total
        if total >= self._wake_bytes:
            self._wake()
        return True

    def grow(self, entry: Run, size: int) -> None:
        """Count *size* bytes more for *entry*, which is in the buffer."""
        entry.size += size
        self.bytes += size
        if self.bytes >= self._wake_bytes:
            self._wake()

    def fill(self) -> float:
        """How full it is, 0 to 1, beside what refused partitions hold; the fuller of records and bytes."""
        held = self.shares
        if not held:
            return max(self.records / self.max_records, self.bytes / self.max_bytes)
        records, total_bytes = max(1, self.max_records - held.records), max(1, self.max_bytes - held.bytes)
        return max((self.records - held.records) / records, (self.bytes - held.bytes) / total_bytes)

    # -- the sender's side ----------------------------------------------------------------------

    def wake_at(self, records: float, total_bytes: float) -> None:
        """Ring once, as soon as that much waits to be taken; infinity for never."""
        self._due_records = self._taken_records + records
        self._due_bytes = self._taken_bytes + total_bytes
        self._watch()

    def alarm_at(self, share: float) -> None:
        """Give the alarm once, as soon as the buffer is that full."""
        self._alarm_share = share
        self._watch()

    def _watch(self) -> None:
        """One pair of marks for both, since every call compares with them."""
        records, total_bytes = self._alarm_marks()
        self._wake_records = min(self._due_records, records)
        self._wake_bytes = min(self._due_bytes, total_bytes)
        self._mark()
        if self.records >= self._wake_records or self.bytes >= self._wake_bytes:
            self._wake()

    def _mark(self) -> None:
        """Set the one pair of marks that `add` compares with, which runs in every call."""
        self._look_records = 0 if self.closed else min(self._free_records + 1, self._wake_records)
        self._look_bytes = min(self.max_bytes + 1, self._wake_bytes)

    def _wake(self) -> None:
        if self.records >= self._due_records or self.bytes >= self._due_bytes:
            self._due_records = self._due_bytes = math.inf
            self.ring()
        records, total_bytes = self._alarm_marks()
        if self.records >= records or self.bytes >= total_bytes:
            self._alarm_share = math.inf
            self.alarm()
        self._watch()

    def _alarm_marks(self) -> tuple[float, float]:
        """From where on `fill` is the share that was asked for."""
        share, held = self._alarm_share, self.shares
        records, total_bytes = max(1, self.max_records - held.records), max(1, self.max_bytes - held.bytes)
        return held.records + share * records, held.bytes + share * total_bytes

    def take(self) -> list[Entry]:
        """Everything that waits, in its order, encoded. It stays counted until `release`."""
        entries, self.entries = self.entries, []
        growing, self._growing = self._growing, []
        for run in growing:
            run.seal()
        self._taken_records, self._taken_bytes = self.records, self.bytes
        return entries

    def refuse(self, where: Partition, taken: Callable[[], list[Entry]], partitions: int) -> None:
        """Give a partition, of which *taken* was, no more than its share: the queue takes nothing from it."""
        if where in self.shares:
            return
        waiting = [each for each in self.entries if where == (each.lane, partition_of(each.key, partitions))]
        self.shares.begin(where, taken() + waiting, partitions)
        self._free_records = 0
        self._mark()

    def release(self, records: int, total_bytes: int, where: Partition | None = None) -> None:
        """The queue has confirmed, or nobody will send, that much of what was taken; all of one partition perhaps."""
        self.records -= records
        self.bytes -= total_bytes
        self.released += records
        self._taken_records -= records
        self._taken_bytes -= total_bytes
        # The sender may be asleep: it is woken by what comes, whatever is confirmed meanwhile.
        self._due_records -= records
        self._due_bytes -= total_bytes
        if where is not None and self.shares:
            self.shares.shrink(where, records, total_bytes)
            self._free_records = 0 if self.shares else self.max_records
        self._watch()
        if self.fill() <= LOW_MARK:
            self.on_room()

    def open(self) -> None:
        """Take entries from now on."""
        self.closed = False
        self._mark()

    def close(self) -> None:
        """Take nothing more."""
        self.closed = True
        self._mark()


class SharedBuffer(Buffer):
    """A buffer that many threads fill and one empties."""

    def __init__(self, max_records: int, max_bytes: int, overflow: Overflow) -> None:
        super().__init__(max_records, max_bytes, overflow)
        # Reentrant: a garbage collection inside a call may log, and a log handler may call us.
        self.lock = threading.RLock()
        self._room = threading.Condition(self.lock)

    def add(self, entry: Entry) -> bool:
        """See `Buffer.add`."""
        with self.lock:
            return super().add(entry)

    def leave_out(self) -> None:
        """See `Buffer.leave_out`."""
        with self.lock:
            super().leave_out()

    def wake_at(self, records: float, total_bytes: float) -> None:
        """See `Buffer.wake_at`."""
        with self.lock:
            super().wake_at(records, total_bytes)

    def alarm_at(self, share: float) -> None:
        """See `Buffer.alarm_at`."""
        with self.lock:
            super().alarm_at(share)

    def take(self) -> list[Entry]:
        """See `Buffer.take`."""
        with self.lock:
            return super().take()

    def refuse(self, where: Partition, taken: Callable[[], list[Entry]], partitions: int) -> None:
        """See `Buffer.refuse`."""
        with self.lock:
            super().refuse(where, taken, partitions)

    def release(self, records: int, total_bytes: int, where: Partition | None = None) -> None:
        """See `Buffer.release`."""
        with self.lock:
            super().release(records, total_bytes, where)
            if self.fill() <= LOW_MARK:
                self._room.notify_all()

    def open(self) -> None:
        """See `Buffer.open`."""
        with self.lock:
            super().open()

    def close(self) -> None:
        """See `Buffer.close`."""
        with self.lock:
            super().close()
            self._room.notify_all()

    def forget_ended(self, receipts: Iterable[Ticket]) -> None:
        """See `Buffer.forget_ended`."""
        with self.lock:
            super().forget_ended(receipts)

    def wait_for_room(self, size: int, timeout_s: float, where: Partition | None = None) -> bool:
        """Wait, in the calling thread, until *size* bytes fit; False after *timeout_s*."""
        with self.lock:
            # Told only below the low mark, so a full buffer empties by half before calls go on.
            return self._room.wait_for(lambda: self.closed or not self.records or self.has_room(size, where), timeout_s)
