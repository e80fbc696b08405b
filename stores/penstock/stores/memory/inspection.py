"""What can be seen of records in memory beside themselves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from penstock.stores.errors import BadStoreURL
from penstock.stores.health import Health, Totals, examined
from penstock.stores.memory.state import MemoryState
from penstock.stores.schemas import SchemaVersion
from penstock.wire.records import AgentState, Context, KeyValue, LogEvent, Message, Task

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine


class MemoryInspection(ABC):
    """See `SqlInspection`."""

    _messages: dict[bytes, Message]
    _logs: dict[bytes, LogEvent]
    _sessions: dict[str, list[Any]]
    _state: MemoryState

    @abstractmethod
    async def check(self) -> None:
        """See `Store.check`."""

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
