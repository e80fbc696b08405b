"""What can be seen of records in memory beside themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.stores.errors import BadStoreURL
from penstock.stores.health import Health, Totals, examined
from penstock.stores.memory.tables import MemoryTables
from penstock.stores.schemas import SchemaVersion
from penstock.wire.records import AgentState, Context, KeyValue, Task

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine


class MemoryInspection(MemoryTables):
    """See `SqlInspection`."""

    async def schema(self) -> SchemaVersion:
        """See `SqlInspection.schema`. There is none to migrate."""
        await self.check()
        return SchemaVersion(0, 0, ())

    async def health(self) -> Health:
        """See `SqlInspection.health`."""
        return await examined({"answers": self._answers})

    async def totals(self) -> Totals:
        """See `SqlInspection.totals`."""
        await self.check()
        return Totals(
            messages=len(self._messages),
            sessions=len(self._sessions),
            logs=len(self._logs),
            tasks=len(self._state.rows(Task)),
            agent_states=len(self._state.rows(AgentState)),
            contexts=len(self._state.rows(Context)),
            key_values=len(self._state.rows(KeyValue)),
        )

    def engine(self) -> AsyncEngine:
        """See `SqlInspection.engine`."""
        raise BadStoreURL("memory:// has no database for an engine; sqlite:// and postgresql:// have one")

    async def _answers(self) -> str:
        await self.check()
        return "in memory"
