"""Every partition's line, and how what the calls leave in the buffer comes into them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator

from penstock.producer.buffer import Buffer
from penstock.producer.line import Line
from penstock.producer.receipt import Entry, Placed
from penstock.wire.keys import Partition, partition_of

_MOST_ROUTES = 10_000
"""Keys of a lane whose lines are remembered; about 1 MB."""


class Lines:
    """The lines of one producer. There are none before the number of partitions is known."""

    def __init__(self, buffer: Buffer, partitions: Callable[[], int]) -> None:
        self.unsorted: list[Entry] = []
        """Taken from the buffer before that number is known. Goes before what is in the buffer."""
        self._buffer = buffer
        self._partitions = partitions
        self._lines: dict[Partition, Line] = {}
        self._routes: defaultdict[str, dict[str, Line]] = defaultdict(dict)
        """By lane and ordering key. A hash of the key and a look for its line cost thrice what this does."""

    def __iter__(self) -> Iterator[Line]:
        return iter(self._lines.values())

    def find(self, where: Partition) -> Line | None:
        """The line of a partition, if it ever had anything."""
        return self._lines.get(where)

    def of(self, where: Partition) -> Line:
        """The line of a partition."""
        line = self._lines.get(where)
        if line is None:
            line = self._lines[where] = Line(where)
        return line

    def sort(self) -> None:
        """Take what is in the buffer into the lines. To be called once the number of partitions is known."""
        unsorted, self.unsorted = self.unsorted, []
        routes = self._routes
        for entry in unsorted + self._buffer.take():
            key = entry.key
            if type(key) is not str:  # a program's own kind of str, which may have no hash, or equal others
                key = str.__str__(key)
            line = routes[entry.lane].get(key) or self._route(entry.lane, key)
            line.waiting.append(entry)

    def _route(self, lane: str, key: str) -> Line:
        """The line of an ordering key, remembered for the next of its entries."""
        known = self._routes[lane]
        if len(known) >= _MOST_ROUTES:
            known.clear()
        line = known[key] = self.of(Partition(lane, partition_of(key, self._partitions())))
        return line

    def outstanding(self) -> list[Entry]:
        """Every entry in memory that the queue has not confirmed."""
        return [entry for line in self for entry in line.left()] + self.unsorted + self._buffer.entries

    def unsent(self) -> int:
        """How many records the queue has not confirmed; without those in the spool that are in no line yet."""
        return sum(line.unsent() for line in self) + len(self.unsorted) + len(self._buffer.entries)

    def last_placed(self) -> list[Placed]:
        """For each partition where its last confirmed push lies."""
        return [line.last for line in self if line.last is not None]

    def give_up(self) -> list[Entry]:
        """Every entry in memory that is not confirmed, encoded, in order; nobody sends them any more."""
        taken = self._buffer.take()
        left = [entry for line in self for entry in line.left()] + self.unsorted + taken
        self.unsorted = []
        self._lines.clear()
        self._routes.clear()
        self._buffer.release(len(left), sum(entry.size for entry in left))
        return left
