"""Keeps partitions that the queue refuses from filling the buffer, so that the others go on."""

from __future__ import annotations

from penstock.producer.receipt import Entry
from penstock.wire.keys import Partition, partition_of

_SMALL = 16
"""A partition that holds less than this part of the buffer, and is taken from again, is counted no more."""


class Share:
    """What a refused partition holds of the buffer."""

    __slots__ = ("bytes", "records")

    def __init__(self, records: int, total_bytes: int) -> None:
        self.records = records
        self.bytes = total_bytes


class Shares:
    """What each refused partition holds: at most half of what the other refused ones leave.

    So one may hold a half, two a third each, and there is room for the rest whatever their number.
    """

    def __init__(self, max_records: int, max_bytes: int) -> None:
        self.records = 0
        """Of all of them."""
        self.bytes = 0
        self._max_records = max_records
        self._max_bytes = max_bytes
        self._partitions = 1
        self._shares: dict[Partition, Share] = {}

    def __bool__(self) -> bool:
        return bool(self._shares)

    def __contains__(self, where: Partition) -> bool:
        return where in self._shares

    def begin(self, where: Partition, entries: list[Entry], partitions: int) -> None:
        """Count from now on what a partition holds, which now is *entries*."""
        self._partitions = partitions
        self._shares[where] = share = Share(len(entries), sum(entry.size for entry in entries))
        self.records += share.records
        self.bytes += share.bytes

    def partition_of(self, entry: Entry) -> Partition | None:
        """The partition of *entry*, if it is a refused one."""
        where = Partition(entry.lane, partition_of(entry.key, self._partitions))
        return where if where in self._shares else None

    def has_room(self, where: Partition, size: int) -> bool:
        """Whether *size* bytes more are within a partition's share."""
        share = self._shares.get(where)
        if share is None:
            return True
        records = self._max_records - (self.records - share.records)
        total_bytes = self._max_bytes - (self.bytes - share.bytes)
        return 2 * (share.records + 1) <= records and 2 * (share.bytes + size) <= total_bytes

    def grow(self, where: Partition, size: int) -> None:
        """Count one more record."""
        share = self._shares.get(where)
        if share is not None:
            share.records += 1
            share.bytes += size
            self.records += 1
            self.bytes += size

    def shrink(self, where: Partition, records: int, total_bytes: int) -> None:
        """Records of a partition have left. One that holds little then is refused no more, until the queue says so."""
        share = self._shares.get(where)
        if share is None:
            return
        records, total_bytes = min(records, share.records), min(total_bytes, share.bytes)
        share.records -= records
        share.bytes -= total_bytes
        self.records -= records
        self.bytes -= total_bytes
        if share.records * _SMALL <= self._max_records and share.bytes * _SMALL <= self._max_bytes:
            del self._shares[where]
            self.records -= share.records
            self.bytes -= share.bytes

    def held(self, where: Partition) -> Share:
        """What a partition holds."""
        return self._shares.get(where) or Share(0, 0)
