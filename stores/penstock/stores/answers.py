"""What a SQL backend answers, in terms of one method that asks it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from penstock.stores import surface
from penstock.stores.contract import Partial
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
from penstock.stores.questions import Question
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
from penstock.stores.schemas import refuse_search
from penstock.stores.walking import SqlWalking
from penstock.wire.records import AgentState, Context, KeyValue, LogEvent, Message, Task


class SqlAnswers(SqlWalking):
    """`SqlReading` over any backend whose columns come in the order of the record's fields."""

    _has_search = False
    """Whether the schema was seen to have an index of words."""

    async def message(self, message_id: bytes) -> StoredMessage | None:
        """See `SqlReading.message`."""
        rows = await self._ask(self._questions.one("message", id=message_id))
        return surface.stored_message(Message(*rows[0])) if rows else None

    async def messages(self, query: MessageQuery) -> Sequence[StoredMessage]:
        """See `SqlReading.messages`."""
        rows = await self._ask(self._questions.page("message", query))
        return [surface.stored_message(Message(*row)) for row in rows]

    async def count_messages(self, query: MessageQuery) -> int:
        """See `SqlReading.count_messages`."""
        return await self._number(self._questions.count("message", query))

    async def search_messages(self, query: FoundQuery) -> Sequence[StoredMessage]:
        """See `SqlReading.search_messages`."""
        if not self._has_search:
            refuse_search((await self._ask(self._questions.named("schema_version")))[0][0] or 0)
            self._has_search = True
        rows = await self._ask(self._questions.page("found", query))
        return [surface.stored_message(Message(*row)) for row in rows]

    async def session(self, session_id: str, *, with_last_message: bool = False) -> Session | None:
        """See `SqlReading.session`."""
        rows = await self._ask(self._questions.one("session", head=_head(with_last_message), id=session_id))
        return _session(rows[0]) if rows else None

    async def sessions(self, query: SessionQuery) -> Sequence[Session]:
        """See `SqlReading.sessions`."""
        head = _head(query.with_last_message)
        return [_session(row) for row in await self._ask(self._questions.page("session", query, head=head))]

    async def logs(self, query: LogQuery) -> Sequence[StoredLog]:
        """See `SqlReading.logs`."""
        rows = await self._ask(self._questions.page("log", query))
        return [surface.stored_log(LogEvent(*row)) for row in rows]

    async def count_logs(self, query: LogQuery) -> int:
        """See `SqlReading.count_logs`."""
        return await self._number(self._questions.count("log", query))

    async def task(self, task_id: str) -> StoredTask | None:
        """See `SqlReading.task`."""
        rows = await self._ask(self._questions.one("task", id=task_id))
        return surface.stored_task(Task(*rows[0])) if rows else None

    async def tasks(self, query: TaskQuery) -> Sequence[StoredTask]:
        """See `SqlReading.tasks`."""
        return [surface.stored_task(Task(*row)) for row in await self._ask(self._questions.page("task", query))]

    async def count_tasks(self, query: TaskQuery) -> int:
        """See `SqlReading.count_tasks`."""
        return await self._number(self._questions.count("task", query))

    async def agent_state(self, agent_id: str) -> StoredAgentState | None:
        """See `SqlReading.agent_state`."""
        rows = await self._ask(self._questions.one("agent_state", id=agent_id))
        return surface.stored_agent_state(AgentState(*rows[0])) if rows else None

    async def agent_states(self, query: AgentStateQuery) -> Sequence[StoredAgentState]:
        """See `SqlReading.agent_states`."""
        rows = await self._ask(self._questions.page("agent_state", query))
        return [surface.stored_agent_state(AgentState(*row)) for row in rows]

    async def context(self, context_id: str, now_us: int) -> StoredContext | None:
        """See `SqlReading.context`."""
        rows = await self._ask(self._questions.one("context", id=context_id, now_us=now_us))
        return surface.stored_context(Context(*rows[0])) if rows else None

    async def contexts(self, query: ContextQuery) -> Sequence[StoredContext]:
        """See `SqlReading.contexts`."""
        rows = await self._ask(self._questions.page("context", query))
        return [surface.stored_context(Context(*row)) for row in rows]

    async def count_contexts(self, query: ContextQuery) -> int:
        """See `SqlReading.count_contexts`."""
        return await self._number(self._questions.count("context", query))

    async def key_value(self, namespace: str, key: str, now_us: int) -> StoredKeyValue | None:
        """See `SqlReading.key_value`."""
        rows = await self._ask(self._questions.one("key_value", namespace=namespace, key=key, now_us=now_us))
        return surface.stored_key_value(KeyValue(*rows[0])) if rows else None

    async def key_values(self, query: KeyValueQuery) -> Sequence[StoredKeyValue]:
        """See `SqlReading.key_values`."""
        rows = await self._ask(self._questions.page("key_value", query))
        return [surface.stored_key_value(KeyValue(*row)) for row in rows]

    async def key_values_of(self, namespace: str, keys: Sequence[str], now_us: int) -> Sequence[StoredKeyValue]:
        """See `SqlReading.key_values_of`."""
        question = self._questions.named("key_values_of", namespace=namespace, keys=tuple(keys), now_us=now_us)
        return [surface.stored_key_value(KeyValue(*row)) for row in await self._ask(question)]

    async def agent_statistics(self, agent_id: str, now_us: int) -> AgentStatistics:
        """See `SqlReading.agent_statistics`."""
        scale = surface.DURATION_SCALE
        tasks = await self._ask(self._questions.named("tasks_of_agent_by_status", agent_id=agent_id, scale=scale))
        logs = await self._ask(self._questions.named("logs_of_agent_by_level", agent_id=agent_id))
        contexts = await self.count_contexts(ContextQuery(now_us=now_us, agent_id=agent_id))
        by_status = [surface.TasksOfStatus(*row) for row in tasks]
        return surface.agent_statistics(agent_id, by_status, [(level, count) for level, count in logs], contexts)

    async def partials(self, ids: Sequence[bytes]) -> Mapping[bytes, Partial]:
        """See `Store.partials`."""
        rows = await self._ask(self._questions.named("partials", ids=tuple(ids))) if ids else ()
        return {message_id: Partial(content or "", version) for message_id, content, version in rows}

    async def check(self) -> None:
        """See `Store.check`."""
        await self._ask(self._questions.named("schema_version"))

    async def _number(self, question: Question) -> int:
        number: int = (await self._ask(question))[0][0]
        return number


_SESSION_COLUMNS = 7


def _head(with_last_message: bool) -> str:
    return "columns_and_last_message" if with_last_message else "columns"


def _session(row: Sequence[Any]) -> Session:
    """A session's row, behind which the columns of its last message may stand, which are NULL where it has none."""
    last = row[_SESSION_COLUMNS:]
    return surface.session(row[:_SESSION_COLUMNS], Message(*last) if last and last[0] is not None else None)
