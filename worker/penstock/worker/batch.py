"""A prefix of a log, decoded."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

from penstock.wire.entries import Entry
from penstock.wire.errors import FrameCorrupt
from penstock.wire.frames import decode_frame, opened_bytes
from penstock.wire.keys import Partition
from penstock.wire.queue import Queue
from penstock.wire.records import Record, StreamChunk
from penstock.worker.settings import WorkerConfig

_MAX_READ = 128
"""Entries asked for at once, however small they are: the next ones may each be a record of 8 MB."""


@dataclass(slots=True)
class Batch:
    """What a slice settles together. An empty one settles only streams that fell silent."""

    last_id: str = ""
    last_frame: bytes = b""
    records: int = 0
    """Records that leave the log."""
    items: list[Record] = field(default_factory=list)
    """Everything but chunks, in the log's order."""
    chunks: list[StreamChunk] = field(default_factory=list)
    weights: dict[bytes, int] = field(default_factory=dict)
    """How many records an item counts for, where it is not one: a replayed letter of a whole stream."""
    brought: list[tuple[Entry, Sequence[Record]]] = field(default_factory=list)
    """The entries and what they hold."""
    came: dict[bytes, Entry] = field(default_factory=dict)
    """Of records that a replay brings again, by their ids: the entry that they are in."""
    corrupt: list[tuple[Entry, str]] = field(default_factory=list)
    """Entries that are no frame, and why."""

    @property
    def replayed(self) -> list[str]:
        """Traces of the letters that are replayed here."""
        entries = itertools.chain((entry for entry, _ in self.brought), (entry for entry, _ in self.corrupt))
        return [entry.trace for entry in entries if entry.trace]


def decode(entries: Sequence[Entry]) -> Batch:
    """The batch of *entries*.

    Raises:
        FrameTooNew: One of them was written by a newer producer. Nothing may be settled past it.
    """
    batch = Batch(records=sum(entry.records for entry in entries))
    if entries:
        batch.last_id, batch.last_frame = entries[-1].id, entries[-1].frame
    for entry in entries:
        try:
            records = decode_frame(entry.frame)
        except FrameCorrupt as exc:
            batch.corrupt.append((entry, str(exc)))
            continue
        if len(records) != entry.records and len(records) == 1:
            batch.weights[records[0].id] = entry.records
        batch.brought.append((entry, records))
        if entry.past:
            batch.came.update((record.id, entry) for record in records)
        for record in records:
            (batch.chunks if type(record) is StreamChunk else batch.items).append(record)  # type: ignore[arg-type]
    return batch


class LogReader:
    """Reads a log once, from its head on, in prefixes of bounded size."""

    __slots__ = ("_config", "_count", "_is_full", "_partition", "_queue", "_waiting", "position")

    def __init__(self, queue: Queue, partition: Partition, config: WorkerConfig) -> None:
        self.position = "0-0"
        """Id of the last entry that was read."""
        self._queue = queue
        self._partition = partition
        self._config = config
        self._count = 16
        self._waiting: list[Entry] = []
        self._is_full = False

    @property
    def has_more(self) -> bool:
        """Whether more may lie behind the last prefix; if not, that reached the log's end as it was then."""
        return bool(self._waiting) or self._is_full

    async def next_prefix(self) -> list[Entry]:
        """The next entries, at most `batch_records` and `batch_bytes` unless one frame is larger; empty at the end."""
        if not self._waiting:
            self._waiting = await self._queue.read(self._partition, self._count, self.position)
            self.position = self._waiting[-1].id if self._waiting else self.position
            self._is_full = len(self._waiting) == self._count
        taken = self._cut()
        prefix, self._waiting = self._waiting[:taken], self._waiting[taken:]
        self._adapt(prefix)
        return prefix

    def _cut(self) -> int:
        records = size = 0
        for taken, entry in enumerate(self._waiting):
            records += entry.records
            size += opened_bytes(entry.frame)
            if taken and (records > self._config.batch_records or size > self._config.batch_bytes):
                return taken
        return len(self._waiting)

    def _adapt(self, prefix: Sequence[Entry]) -> None:
        """Ask for about as many entries as fill a batch: frames hold from one record to thousands."""
        if prefix:
            records = max(1, sum(entry.records for entry in prefix))
            size = max(1, sum(opened_bytes(entry.frame) for entry in prefix))
            fill = min(self._config.batch_records / records, self._config.batch_bytes / size)
            self._count = max(1, min(_MAX_READ, 2 * self._count, round(len(prefix) * fill)))
