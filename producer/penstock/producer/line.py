"""One partition's outgoing line: what is not durable yet, the one push that is on its way, what lies in the spool and
what waits in memory."""

from __future__ import annotations

import asyncio
import functools
import itertools
import math
import operator
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from penstock.producer.receipt import Entry, Placed, settle_plain
from penstock.producer.trail import Trail
from penstock.wire.entries import Push, Pushed, position
from penstock.wire.frames import frames_of
from penstock.wire.keys import Partition
from penstock.wire.levels import FAST
from penstock.wire.marks import marks_of

if TYPE_CHECKING:
    from penstock.producer.spool_shelf import Place

MAX_PUSH_BYTES = 1024 * 1024
"""The server appends a push in one go, for about a millisecond a megabyte; its other clients wait that long."""

MAX_PUSH_RECORDS = 8_192
"""What is cut and settled in one go, for about a millisecond each, though its records be small."""

MAX_PUSH_MARKS = 500
"""Most records of state in a push: a mark costs the server about 2 us, so these cost it a millisecond too."""


class Batch:
    """A push and the entries in it. Its push never changes: repeated, it is the same one, which appends once."""

    __slots__ = ("entries", "is_plain", "level", "place", "push", "records", "size")

    def __init__(
        self,
        push: Push,
        entries: Sequence[Entry],
        size: int,
        records: int,
        *,
        level: int = FAST,
        place: Place | None = None,
        is_plain: bool = True,
    ) -> None:
        self.push = push
        self.entries = entries
        """Those that are in memory."""
        self.size = size
        """Bytes that the entries count for in the buffer."""
        self.records = records
        self.level = level
        """How durable it must be: what any of its records needs."""
        self.is_plain = is_plain
        """All its entries are."""
        self.place = place
        """Where it lies in the spool, if it does."""

    def settle(self, pushed: Pushed, at_us: int) -> None:
        """Tell those who wait for its entries which entry of the log holds each."""
        first = 0
        for placed, records in self._placed(pushed, at_us):
            entries = self.entries[first : first + records]
            first += records
            if self.is_plain:
                settle_plain(entries, placed)
            else:
                for entry in entries:
                    entry.settle(placed)

    def places(self, pushed: Pushed, at_us: int) -> list[Placed]:
        """For each record the entry that holds it."""
        return [placed for placed, records in self._placed(pushed, at_us) for _ in range(records)]

    def _placed(self, pushed: Pushed, at_us: int) -> Iterator[tuple[Placed, int]]:
        """Each frame's place, and how many records it has: those of one push follow each other."""
        milliseconds, last = position(pushed.entry_id)
        first = last - len(self.push.frames) + 1
        for number, frame in enumerate(self.push.frames, first):
            yield Placed(self.push.partition, f"{milliseconds}-{number}", at_us), frame.records


class Line:
    """Records of one partition in their order: `trail`, `batch`, then what lies in the spool, then `waiting`.

    Only the head of the line is ever sent.
    """

    __slots__ = (
        "_number",
        "batch",
        "failures",
        "held",
        "last",
        "news",
        "not_before_s",
        "partition",
        "pushed",
        "refusal",
        "sending",
        "spooled",
        "trail",
        "waiting",
    )

    def __init__(self, partition: Partition) -> None:
        self.partition = partition
        self.waiting: deque[Entry] = deque()
        self.batch: Batch | None = None
        """On its way, or failed and to be repeated."""
        self.sending = False
        """The batch is on its way."""
        self.spooled = 0
        """Records in the spool, those of batches included."""
        self.held = False
        """What waits is being put into the spool; nothing leaves meanwhile."""
        self.trail = Trail()
        """What the queue has, or had, but not as durable as it must be."""
        self.pushed = 0
        """Records that the queue has taken, durable or not."""
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
        if self.held or not (self.trail.lost or self._may_go_on()):
            return math.inf
        return self.not_before_s

    def _may_go_on(self) -> bool:
        """Whether there is something that was never sent, and that may follow what was."""
        if self.batch is not None:
            return self.trail.admits(self.batch.push)
        if self.spooled and self.trail.is_full:
            return False
        return self.spooled > self.trail.spooled or bool(self.waiting)

    def may_send(self, batch: Batch) -> bool:
        """Whether *batch* may follow what is not durable yet."""
        return self.trail.admits(batch.push) or batch in self.trail.lost

    @property
    def needs_spool(self) -> bool:
        """Whether what is to be sent next lies in the spool alone."""
        nothing_else = self.batch is None and self.spooled > 0 and not self.trail.lost
        return nothing_else and self.spooled > self.trail.spooled

    def unpushed(self) -> int:
        """How many records the queue never took."""
        in_memory = self.batch.records if self.batch and self.batch.place is None else 0
        return in_memory + self.spooled - self.trail.spooled + len(self.waiting)

    def unsent(self) -> int:
        """How many records are not confirmed."""
        return self.unpushed() + self.trail.records

    def next_number(self) -> int:
        """The number of a new push. It need not be used."""
        self._number += 1
        return self._number

    def next_batch(self, producer_id: str) -> Batch:
        """What the queue has lost, the failed batch again, or a new one.

        A new one has at most `MAX_PUSH_BYTES`, unless one record is larger, and of state at most `MAX_PUSH_MARKS`.
        """
        if self.trail.lost:
            return self.trail.lost[0]
        if self.batch is None:
            self.batch = self._cut(producer_id)
        return self.batch

    def _cut(self, producer_id: str) -> Batch:
        is_state = self.partition.lane == "state"
        entries = list(itertools.islice(self.waiting, MAX_PUSH_MARKS if is_state else MAX_PUSH_RECORDS))
        packed = [entry.packed for entry in entries]
        size = sum(map(len, packed))
        if size > MAX_PUSH_BYTES:
            most = max(1, bisect_right(list(itertools.accumulate(map(len, packed))), MAX_PUSH_BYTES))
            del entries[most:], packed[most:]
            size = sum(map(len, packed))
        if len(entries) == len(self.waiting):
            self.waiting.clear()
        else:
            for _ in entries:
                self.waiting.popleft()
        marks = marks_of(packed) if is_state else ()
        push = Push(self.partition, producer_id, self.next_number(), frames_of(packed), marks)
        kinds: set[type[Any]] = set(map(type, entries))  # one or two, of thousands of entries
        level = functools.reduce(operator.or_, (kind.level for kind in kinds), FAST)
        is_plain = all(kind.is_plain for kind in kinds)
        if not is_plain:
            size = sum(entry.size for entry in entries)
        return Batch(push, entries, size, len(entries), level=level, is_plain=is_plain)

    def left(self) -> list[Entry]:
        """Every entry in memory that is not confirmed."""
        batches = [*self.trail.batches(), *([self.batch] if self.batch else ())]
        return [*(entry for batch in batches for entry in batch.entries), *self.waiting]


def runs_of(entries: Iterable[Entry], lane: str) -> Iterator[list[Entry]]:
    """*entries* of one lane in pieces that are a push each, as `Line.next_batch` cuts them."""
    run: list[Entry] = []
    length, most = 0, MAX_PUSH_MARKS if lane == "state" else MAX_PUSH_RECORDS
    for entry in entries:
        if run and (length + len(entry.packed) > MAX_PUSH_BYTES or len(run) == most):
            yield run
            run, length = [], 0
        run.append(entry)
        length += len(entry.packed)
    if run:
        yield run
