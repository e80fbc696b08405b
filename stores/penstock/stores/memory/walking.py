"""Walking records in memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from penstock.stores.memory.tables import MemoryTables
from penstock.stores.walking import TABLES, Table
from penstock.wire.records import Record, StreamChunk


class MemoryWalking(MemoryTables):
    """See `SqlReading.walk`."""

    async def walk(self, table: str, after: Record | None, limit: int) -> Sequence[Record]:
        """See `SqlReading.walk`."""
        await self.check()
        walked = TABLES[table]
        records = sorted(self._rows(walked), key=walked.key_of)
        if after is not None:
            records = [each for each in records if walked.key_of(each) > walked.key_of(after)]
        return records[:limit]

    def _rows(self, table: Table) -> Iterable[Record]:
        if table.name == "messages":
            return self._messages.values()
        if table.name == "logs":
            return self._logs.values()
        if table.name == "chunks":
            rows = self._chunks.values()
            return [StreamChunk(row[0], row[4], "", "", *row[:4]) for row in rows]
        if table.name == "deletions":
            stones = self._tombstones.items()
            return [table.record_of((self._entombed[stone], at_us, *stone)) for stone, at_us in stones]
        return map(table.record_of, self._state.rows(table.record))
