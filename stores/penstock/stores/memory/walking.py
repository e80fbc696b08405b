"""Walking records in memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from penstock.stores.memory.state import MemoryState
from penstock.stores.walking import TABLES, Table
from penstock.wire.records import LogEvent, Message, Record, StreamChunk


class MemoryWalking(ABC):
    """See `SqlReading.walk`."""

    _messages: Mapping[bytes, Message]
    _chunks: Mapping[tuple[Any, ...], tuple[Any, ...]]
    _logs: Mapping[bytes, LogEvent]
    _tombstones: Mapping[tuple[str, bytes], int]
    _entombed: Mapping[tuple[str, bytes], bytes]
    _state: MemoryState

    @abstractmethod
    async def check(self) -> None:
        """See `Store.check`."""

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
