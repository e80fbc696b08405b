"""The reading side of records in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from penstock.stores import surface
from penstock.stores.memory.matching import matching_found, matching_logs, matching_messages, matching_sessions, page
from penstock.stores.memory.tables import MemoryTables
from penstock.stores.queries import (
    AgentStateQuery,
    ContextQuery,
    FoundQuery,
    KeyValueQuery,
    LogQuery,
    MessageQuery,
    SessionQuery,
    TaskQuery,
)
from penstock.stores.rows import (
    AgentStatistics,
    Session,
    StoredAgentState,
    StoredContext,
    StoredKeyValue,
    StoredLog,
    StoredMessage,
    StoredTask,
)
from penstock.wire.records import LogEvent, Message


class MemoryReading(MemoryTables):
    """See `SqlReading`."""

    async def message(self, message_id: bytes) -> StoredMessage | None:
        """See `SqlReading.message`."""
        await self.check()
        row = self._messages.get(message_id)
        return None if row is None else surface.stored_message(row)

    async def messages(self, query: MessageQuery) -> Sequence[StoredMessage]:
        """See `SqlReading.messages`."""
        await self.check()
        found = matching_messages(self._messages.values(), query)
        return [surface.stored_message(row) for row in page(found, place, query, ascending=query.ascending)]

    async def count_messages(self, query: MessageQuery) -> int:
        """See `SqlReading.count_messages`."""
        await self.check()
        return len(matching_messages(self._messages.values(), query))

    async def search_messages(self, query: FoundQuery) -> Sequence[StoredMessage]:
        """See `SqlReading.search_messages`. Finds what was stored at once."""
        await self.check()
        found = matching_found(self._messages.values(), query)
        return [surface.stored_message(row) for row in page(found, place, query, ascending=False)]

    async def session(self, session_id: str, *, with_last_message: bool = False) -> Session | None:
        """See `SqlReading.session`."""
        await self.check()
        row = self._sessions.get(session_id)
        return None if row is None else self._session(row, with_last_message=with_last_message)

    async def sessions(self, query: SessionQuery) -> Sequence[Session]:
        """See `SqlReading.sessions`."""
        await self.check()
        found = page(matching_sessions(self._sessions.values(), query), _latest, query, ascending=False)
        return [self._session(row, with_last_message=query.with_last_message) for row in found]

    async def logs(self, query: LogQuery) -> Sequence[StoredLog]:
        """See `SqlReading.logs`."""
        await self.check()
        found = matching_logs(self._logs.values(), query)
        return [surface.stored_log(row) for row in page(found, place, query, ascending=query.ascending)]

    async def count_logs(self, query: LogQuery) -> int:
        """See `SqlReading.count_logs`."""
        await self.check()
        return len(matching_logs(self._logs.values(), query))

    async def task(self, task_id: str) -> StoredTask | None:
        """See `SqlReading.task`."""
        await self.check()
        return self._state.task(task_id)

    async def tasks(self, query: TaskQuery) -> Sequence[StoredTask]:
        """See `SqlReading.tasks`."""
        await self.check()
        return self._state.tasks(query)

    async def count_tasks(self, query: TaskQuery) -> int:
        """See `SqlReading.count_tasks`."""
        await self.check()
        return self._state.count_tasks(query)

    async def agent_state(self, agent_id: str) -> StoredAgentState | None:
        """See `SqlReading.agent_state`."""
        await self.check()
        return self._state.agent_state(agent_id)

    async def agent_states(self, query: AgentStateQuery) -> Sequence[StoredAgentState]:
        """See `SqlReading.agent_states`."""
        await self.check()
        return self._state.agent_states(query)

    async def context(self, context_id: str, now_us: int) -> StoredContext | None:
        """See `SqlReading.context`."""
        await self.check()
        return self._state.context(context_id, now_us)

    async def contexts(self, query: ContextQuery) -> Sequence[StoredContext]:
        """See `SqlReading.contexts`."""
        await self.check()
        return self._state.contexts(query)

    async def count_contexts(self, query: ContextQuery) -> int:
        """See `SqlReading.count_contexts`."""
        await self.check()
        return self._state.count_contexts(query)

    async def key_value(self, namespace: str, key: str, now_us: int) -> StoredKeyValue | None:
        """See `SqlReading.key_value`."""
        await self.check()
        return self._state.key_value(namespace, key, now_us)

    async def key_values(self, query: KeyValueQuery) -> Sequence[StoredKeyValue]:
        """See `SqlReading.key_values`."""
        await self.check()
        return self._state.key_values(query)

    async def key_values_of(self, namespace: str, keys: Sequence[str], now_us: int) -> Sequence[StoredKeyValue]:
        """See `SqlReading.key_values_of`."""
        await self.check()
        found = (self._state.key_value(namespace, key, now_us) for key in set(keys))
        return [each for each in found if each is not None]

    async def agent_statistics(self, agent_id: str, now_us: int) -> AgentStatistics:
        """See `SqlReading.agent_statistics`."""
        await self.check()
        levels = Counter(row.level for row in self._logs.values() if row.agent_id == agent_id)
        contexts = self._state.count_contexts(ContextQuery(now_us=now_us, agent_id=agent_id))
        return surface.agent_statistics(agent_id, self._state.tasks_by_status(agent_id), levels.items(), contexts)

    def _session(self, row: Sequence[Any], *, with_last_message: bool) -> Session:
        if not with_last_message:
            return surface.session(row)
        live = matching_messages(self._messages.values(), MessageQuery(session_id=row[0]))
        return surface.session(row, max(live, key=place, default=None))


def place(row: Message | LogEvent) -> tuple[int, bytes]:
    """What *row* is ordered by."""
    return row.created_at_us, row.id


def _latest(row: Sequence[Any]) -> tuple[int, str]:
    """When a session had its last message, and its id."""
    return row[5], row[0]
