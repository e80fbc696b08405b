"""What is known of an open file of a spool without looking: how much of each partition, and who waits for it."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from penstock.producer.receipt import Entry
from penstock.producer.spool_file import UNCUT, Run, SpoolDamaged, SpoolFailed, SpoolFile
from penstock.wire.keys import Partition, partition_of


class Place(NamedTuple):
    """Where a run lies."""

    shelf: Shelf
    seq: int
    records: int
    size: int


class Watch(NamedTuple):
    """Somebody may wait for a record of a run."""

    at: int
    entry: weakref.ref[Entry]
    opened_us: int


class Shelf:
    """One open file, and what is known of it without looking."""

    __slots__ = ("after", "done", "file", "filling", "keys", "partitions", "records", "size", "uncut_after", "watched")

    def __init__(self, file: SpoolFile) -> None:
        self.file = file
        self.records, self.size = file.totals()
        self.after: dict[Partition, int] = {}
        """The last run of each partition that the queue has, perhaps not removed yet."""
        self.filling = False
        """Something is being put there, which nothing else here counts yet."""
        self.partitions = 0
        """How many it is cut for; 0 for not."""
        self.uncut_after = 0
        """What the queue has of what is not cut."""
        self.done: list[tuple[int, Partition]] = []
        """Runs to be removed."""
        self.watched: dict[tuple[int, int], list[Watch]] = {}
        """Who may wait for a run, by its place and its partition's number."""
        self.keys: dict[int, list[str]] = {}
        """The ordering keys of the records of runs that are not cut yet, and that somebody may wait for."""

    @property
    def is_spent(self) -> bool:
        """Whether the queue has all that was put there."""
        return bool(self.after or self.uncut_after) and not self.records.total() and not self.filling

    def entries(self) -> list[Entry]:
        """Every entry in it that somebody still has and knows no fate of."""
        found = (watch.entry() for watches in self.watched.values() for watch in watches)
        return [entry for entry in found if entry is not None and entry.fate is None]

    def note_cut(self, partitions: int) -> None:
        """Find in the runs that were cut what is waited for."""
        for seq, keys in self.keys.items():
            watches = {watch.at: watch for watch in self.watched.pop((seq, UNCUT))}
            counts: Counter[int] = Counter()
            for index, key in enumerate(keys):
                part = partition_of(key, partitions)
                if index in watches:
                    watch = watches[index]._replace(at=counts[part])
                    self.watched.setdefault((seq, part), []).append(watch)
                counts[part] += 1
        self.keys.clear()

    def removed_and_read(self, wanted: Mapping[Partition, int]) -> dict[Partition, Run]:
        """In the spool's thread: remove what is done, if the disk takes it, and read each partition's next run.

        Raises:
            SpoolFailed: It cannot be read now.
        """
        done = list(self.done)
        if done:
            try:
                self.file.remove(done)
            except SpoolDamaged:
                raise
            except SpoolFailed:  # the disk is full, perhaps: reading it is all the more urgent
                pass
            else:
                del self.done[: len(done)]
        runs = {where: self.file.next(where, after, self.partitions) for where, after in wanted.items()}
        return {where: run for where, run in runs.items() if run is not None}
