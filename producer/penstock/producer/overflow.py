"""What happens to a record that finds no room, and to those that closing leaves behind."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from penstock.producer.buffer import Buffer, SharedBuffer
from penstock.producer.errors import BufferFull, RecordDropped
from penstock.producer.receipt import Entry
from penstock.wire.keys import Partition
from penstock.wire.logs import logger

_LOG_EVERY_S = 1.0


def producer_log() -> Any:
    """Where the producer says what it has to."""
    return logger("penstock.producer")


class Overflow(Protocol):
    """A policy for what neither memory nor a spool can hold."""

    drops: Drops
    """What was given up."""

    def admit(self, buffer: Buffer, size: int, where: Partition | None = None) -> bool:
        """Decide on a record of *size* bytes that does not fit: True once there is room, False to drop it.

        *where* is its partition if that is one which the queue refuses.

        Raises:
            BufferFull: The caller shall decide.
        """
        ...

    def leave(self, entries: Sequence[Entry], reason: str) -> None:
        """Settle *entries*, encoded and in their order, which closing could not send."""
        ...


class Drops:
    """Counts what was given up, by reason, and says so: at once, then at most once a second."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self.counts: Counter[str] = Counter()
        self._now_s = now_s
        self._unsaid = 0
        self._said_at = -_LOG_EVERY_S

    def count(self, reason: str, records: int = 1) -> None:
        """Count *records* as given up."""
        self.counts[reason] += records
        self._unsaid += records
        self.report()

    def note(self, reason: str) -> None:
        """Count a record that is given up as the settings ask for. No warning: there is nothing to mend."""
        self.counts[reason] += 1

    def report(self, *, at_once: bool = False) -> None:
        """Log what was given up and not logged yet, if it is time."""
        now = self._now_s()
        if self._unsaid and (at_once or now - self._said_at >= _LOG_EVERY_S):
            producer_log().warning("records dropped", records=self._unsaid, total=dict(self.counts))
            self._unsaid, self._said_at = 0, now


class _Counting:
    """Gives up, counted and logged, what closing leaves behind."""

    def __init__(self, drops: Drops) -> None:
        self.drops = drops

    def leave(self, entries: Sequence[Entry], reason: str) -> None:
        """See `Overflow.leave`."""
        if not entries:
            return
        fate = RecordDropped(f"the producer closed before the queue confirmed the record: {reason}")
        for entry in entries:
            entry.settle(fate)
        self.drops.count("closed", len(entries))


class RaiseWhenFull(_Counting):
    """Leaves it to the caller."""

    def __init__(self, drops: Drops, remedy: str = "catch BufferFull, or set overflow to block or drop") -> None:
        super().__init__(drops)
        self._remedy = remedy

    def admit(self, buffer: Buffer, size: int, where: Partition | None = None) -> bool:
        """See `Overflow.admit`."""
        raise buffer_full(buffer, size, self._remedy, where)


class DropWhenFull(_Counting):
    """Does not take the record; counts and logs it."""

    def admit(self, buffer: Buffer, size: int, where: Partition | None = None) -> bool:
        """See `Overflow.admit`."""
        self.drops.count("partition_full" if where is not None and buffer.has_room(size) else buffer.why_full)
        return False


class BlockWhenFull(_Counting):
    """Lets the calling thread wait, for so long. Needs a `SharedBuffer`."""

    def __init__(self, drops: Drops, timeout_s: float) -> None:
        super().__init__(drops)
        self._timeout_s = timeout_s

    def admit(self, buffer: Buffer, size: int, where: Partition | None = None) -> bool:
        """See `Overflow.admit`."""
        if isinstance(buffer, SharedBuffer) and buffer.wait_for_room(size, self._timeout_s, where):
            return True
        raise buffer_full(buffer, size, f"waited {self._timeout_s:g} s; is the queue server away?", where)


def buffer_full(buffer: Buffer, size: int, remedy: str, where: Partition | None = None) -> BufferFull:
    """The error of a record of *size* bytes that finds no room, in the share of its partition or at all."""
    if where is not None and buffer.has_room(size):
        share = buffer.shares.held(where)
        return BufferFull(
            f"the queue takes nothing for partition {where}, and the records that wait for it hold their share of the "
            f"buffer: {share.records:,} of {buffer.max_records:,} records, {share.bytes:,} of {buffer.max_bytes:,} "
            f"bytes; other partitions go on; {remedy}"
        )
    return BufferFull(
        f"the buffer holds {buffer.records:,} of {buffer.max_records:,} records and {buffer.bytes:,} of "
        f"{buffer.max_bytes:,} bytes, a record of {size:,} bytes does not fit; {remedy}"
    )
