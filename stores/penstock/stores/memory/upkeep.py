"""What goes by itself from memory. See `penstock.stores.upkeep`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping
from heapq import nsmallest
from typing import Any

from penstock.stores.memory.reading import place
from penstock.stores.memory.tables import MemoryTables
from penstock.stores.sessions import growth
from penstock.stores.states import Row
from penstock.stores.upkeep import FINISHED, Bounds, Excess, Kind
from penstock.wire.records import Context, KeyValue, Task


class MemoryUpkeep(MemoryTables):
    """See `SqlUpkeep`."""

    async def count_due(self, kind: Kind, before_us: int) -> int:
        """See `SqlUpkeep.count_due`."""
        await self.check()
        return len(self._due(kind, before_us))

    async def remove_due(self, kind: Kind, before_us: int, now_us: int, limit: int) -> int:
        """See `SqlUpkeep.remove_due`."""
        await self.check()
        due = self._due(kind, before_us)
        gone = nsmallest(limit, due, key=lambda key: (due[key], key[1] if kind == "messages" else b""))
        if kind in ("contexts", "key_values"):
            self._state.entomb((key[1] for key in gone), now_us)
            return len(gone)
        sessions = {self._messages[key[1]].session_id for key in gone} if kind == "messages" else ()
        for table, key in gone:
            del self._tables()[table][key]
        if sessions:
            self._drop_chunks({key for _, key in gone})
            self._recount(sessions)
        return len(gone)

    async def count_excess(self, kind: Excess, bounds: Bounds, now_us: int, floor_us: int, limit: int) -> int:  # noqa: ARG002 - no size is kept
        """See `SqlUpkeep.count_excess`."""
        return 0

    async def remove_excess(self, kind: Excess, floor_us: int, limit: int) -> int:  # noqa: ARG002 - no size is kept
        """See `SqlUpkeep.remove_excess`."""
        return 0

    async def refresh_search(self, limit: int) -> int:  # noqa: ARG002 - nothing is left behind
        """See `SqlUpkeep.refresh_search`. Every search reads what there is."""
        await self.check()
        return 0

    async def reindex(self) -> None:
        """See `SqlUpkeep.reindex`."""
        await self.check()

    async def tidy(self, now_us: int) -> Mapping[str, int]:  # noqa: ARG002 - nothing to do
        """See `SqlUpkeep.tidy`."""
        return {}

    def _tables(self) -> Mapping[str, MutableMapping[Any, Any]]:
        tables: dict[str, MutableMapping[Any, Any]] = {
            "messages": self._messages,
            "logs": self._logs,
            "states": self._state.by_key,
            "tombstones": self._tombstones,
        }
        return tables

    def _due(self, kind: Kind, before_us: int) -> dict[tuple[str, Any], int]:
        """Table and key of each that is due, with the time it is due by."""
        if kind == "messages":
            return _before(kind, ((key, row.created_at_us) for key, row in self._messages.items()), before_us)
        if kind == "logs":
            return _before(kind, ((key, row.created_at_us) for key, row in self._logs.items()), before_us)
        rows = self._state.by_key.items()
        if kind == "tombstones":
            deleted = ((key, row.deleted_at_us) for key, row in rows)
            return _before(kind, self._tombstones.items(), before_us) | _before("states", deleted, before_us)
        if kind == "tasks":
            return _before("states", ((key, _finished_at(row)) for key, row in rows), before_us)
        wanted = Context if kind == "contexts" else KeyValue
        expiring = ((key, row.expires_at_us) for key, row in rows if isinstance(row, wanted))
        return _before("states", expiring, before_us + 1)

    def _recount(self, sessions: Iterable[str]) -> None:
        for session in sessions:
            _, user_id, platform, *_ = self._sessions.pop(session)
            left = [row for row in self._messages.values() if row.session_id == session]
            growth(sorted(left, key=place), into=self._sessions)
            if left:  # whose it is it stays
                self._sessions[session][1:3] = user_id, platform


def _before(table: str, times: Iterable[tuple[Any, int | None]], before_us: int) -> dict[tuple[str, Any], int]:
    return {(table, key): at_us for key, at_us in times if at_us is not None and at_us < before_us}


def _finished_at(row: Row) -> int | None:
    done = isinstance(row, Task) and row.deleted_at_us is None and row.status in FINISHED
    return row.created_at_us if done else None
