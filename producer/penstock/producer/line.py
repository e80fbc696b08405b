"""One partition's outgoing line: what waits, and the one push that is on its way."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from penstock.producer.receipt import Entry, Placed
from penstock.wire.entries import Push, position
from penstock.wire.frames import frames_of
from penstock.wire.keys import Partition
from penstock.wire.marks import marks_of

MAX_PUSH_BYTES = 1024 * 1024
"""The server appends a push in one go, for about a millisecond a megabyte; its other clients wait that long."""

MAX_PUSH_MARKS = 500
"""Most records of state in a push: a mark costs the server about 2 us, so these cost it a millisecond too."""


class Batch(NamedTuple):
    """A push and the entries in it. Never changed: repeated, it is the same push, which appends once."""

    push: Push
    entries: Sequence[Entry]
    size: int
    """Bytes that the entries count for in the buffer."""

    def places(self, last_id: str) -> Iterator[tuple[str, Sequence[Entry]]]:
        """The log entry of each frame and what it carries. Those of one push follow one another, up to *last_id*."""
        milliseconds, number = position(last_id)
        done = 0
        for at, frame in enumerate(self.push.frames, number + 1 - len(self.push.frames)):
            yield f"{milliseconds}-{at}", self.entries[done : done + frame.records]
            done += frame.records


class Line:
    """Entries of one partition in their order. Only the head of the line is ever sent."""

    __slots__ = ("_number", "batch", "failures", "last", "news", "not_before_s", "partition", "refusal", "waiting")

    def __init__(self, partition: Partition) -> None:
        self.partition = partition
        self.waiting: deque[Entry] = deque()
        self.batch: Batch | None = None
        """On its way, or failed and to be repeated."""
        self.failures = 0
        """In a row."""
        self.not_before_s = 0.0
        """The next try's time, by the sender's clock."""
        self.last: Placed | None = None
        """Where the last confirmed push lies."""
        self.news = asyncio.Event()
        """The queue has answered a push."""
        self.refusal: Exception | None = None
        """What it answered last, when it did not take it."""
        self._number = 0

    def due_s(self) -> float:
        """When something may be sent; infinity when there is nothing."""
        return self.not_before_s if self.batch or self.waiting else math.inf

    def next_batch(self, producer_id: str) -> Batch:
        """The failed batch again, or a new one of at most `MAX_PUSH_BYTES`, unless one record is larger.

        Of state it holds at most `MAX_PUSH_MARKS`.
        """
        if self.batch is None:
            self.batch = self._cut(producer_id)
        return self.batch

    def _cut(self, producer_id: str) -> Batch:
        entries: list[Entry] = []
        packed: list[bytes] = []
        size = length = 0
        is_state = self.partition.lane == "state"
        most = len(self.waiting)
        for _ in range(min(most, MAX_PUSH_MARKS) if is_state else most):
            if entries and length + len(self.waiting[0].packed) > MAX_PUSH_BYTES:
                break
            entry = self.waiting.popleft()
            entries.append(entry)
            packed.append(entry.packed)
            size += entry.size
            length += len(entry.packed)
        frames = frames_of(packed)
        marks = marks_of(packed) if is_state else ()
        self._number += 1
        return Batch(Push(self.partition, producer_id, self._number, frames, marks), entries, size)

    def left(self) -> list[Entry]:
        """Every entry that is not confirmed."""
        return [*(self.batch.entries if self.batch else ()), *self.waiting]
