"""What the memory of one store holds."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from penstock.stores.errors import StoreUnavailable
from penstock.stores.memory.state import MemoryState
from penstock.wire.records import LogEvent, Message


class MemoryTables:
    """Dicts, as tables are elsewhere."""

    def __init__(self) -> None:
        self._messages: dict[bytes, Message] = {}
        self._chunks: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        self._logs: dict[bytes, LogEvent] = {}
        self._sessions: dict[str, list[Any]] = {}
        self._epochs: dict[str, int] = {}
        self._tombstones: dict[tuple[str, bytes], int] = {}
        self._entombed: dict[tuple[str, bytes], bytes] = {}  # whose tombstone it is; outlives it
        self._state = MemoryState()
        self._closed = False

    async def check(self) -> None:
        """Memory is there until the store is closed."""
        if self._closed:
            raise StoreUnavailable("the store in memory is closed")

    async def close(self) -> None:
        """Refuse every further call. What was stored is gone."""
        self._closed = True

    def _drop_chunks(self, streams: Collection[bytes]) -> None:
        if streams:
            self._chunks = {key: row for key, row in self._chunks.items() if key[0] not in streams}
