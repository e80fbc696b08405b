"""What a line has pushed that is not as durable as it must be yet, and what of it the queue has lost."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from penstock.producer.line import Batch
    from penstock.wire.entries import Push, Pushed


_SPOOLED_BYTES = 8 * 1024 * 1024
"""Most bytes of a line's trail that come from the spool: what is sent from there fast enough, and memory bears."""


class Pending(NamedTuple):
    """A batch that the queue has, as far as is known."""

    number: int
    batch: Batch
    pushed: Pushed
    at_us: int
    """When the queue's answer came."""


class Trail:
    """Batches of one line and one producer id, by their numbers."""

    __slots__ = ("lost", "pending")

    def __init__(self) -> None:
        self.pending: list[Pending] = []
        """In the queue."""
        self.lost: list[Batch] = []
        """Were in the queue until it crashed or failed over. They go again before anything newer."""

    def after(self, push: Push) -> Push:
        """*push* as it is sent: refused where the queue has lost what was pushed before it."""
        before = bisect_left(self.pending, push.number, key=_number)
        return push._replace(after=self.pending[before - 1].number) if before else push

    @property
    def records(self) -> int:
        """How many records are in it."""
        return sum(batch.records for batch in self._all())

    @property
    def spooled(self) -> int:
        """How many of them lie in the spool, too."""
        return sum(batch.records for batch in self._all() if batch.place is not None)

    @property
    def is_full(self) -> bool:
        """Whether nothing more may be taken out of the spool: what is in there counts for no buffer."""
        return sum(batch.place.size for batch in self._all() if batch.place is not None) >= _SPOOLED_BYTES

    def __contains__(self, batch: Batch) -> bool:
        return any(each is batch for each in self._all())

    def _all(self) -> Iterator[Batch]:
        yield from (each.batch for each in self.pending)
        yield from self.lost

    def admits(self, push: Push) -> bool:
        """Whether *push* may follow now. One of another producer's numbers may only when nothing is pending."""
        return not self.pending or self.pending[-1].batch.push.producer_id == push.producer_id

    def add(self, pending: Pending) -> None:
        """The queue has this one now, perhaps again."""
        self.lost = [each for each in self.lost if each is not pending.batch]
        insort(self.pending, pending, key=_number)

    def confirm(self, upto: Callable[[int], int]) -> list[Pending]:
        """Take out what is durable; *upto* tells for a level up to which number it holds."""
        done: list[Pending] = []
        left: list[Pending] = []
        for each in self.pending:
            (done if each.number <= upto(each.batch.level) else left).append(each)
        self.pending = left
        return done

    def lose(self, upto: int) -> int:
        """The queue has nothing above that number. Returns how many records are to be pushed again for it."""
        gone = [each.batch for each in self.pending if each.number > upto]
        self.pending = [each for each in self.pending if each.number <= upto]
        self.lost = sorted([*self.lost, *gone], key=lambda batch: batch.push.number)
        return sum(batch.records for batch in gone)

    def batches(self) -> list[Batch]:
        """Every batch, in its order."""
        return sorted(self._all(), key=lambda batch: batch.push.number)


def _number(pending: Pending) -> int:
    return pending.number
