"""The reader's questions about state: tasks, agents' states, contexts, key-values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Unpack

from penstock.query.filters import AgentStateFilters, ContextFilters, TaskFilters, checked_values, words
from penstock.query.page import MAX_LIMIT, Course, InvalidQuery, Page, checked_limit, every_item, page_of, position
from penstock.stores.contract import SqlReading
from penstock.stores.key_value_contract import KeyValueReading
from penstock.stores.queries import AgentStateQuery, ContextQuery, KeyValueQuery, Position, TaskQuery
from penstock.stores.rows import (
    AgentStatistics,
    StoredAgentState,
    StoredContext,
    StoredDocument,
    StoredKeyValue,
    StoredTask,
)
from penstock.wire.building_state import DEFAULT_NAMESPACE
from penstock.wire.companions import EMBEDDED_IN, document_namespace
from penstock.wire.ids import to_us
from penstock.wire.text import clean_text


class StateReader(ABC):
    """What `Reader` answers about state. What was deleted or has expired is not there."""

    _clock: Callable[[], int]
    """Microseconds since 1970 UTC: what has expired, has expired by it."""

    @abstractmethod
    def _sql_store(self) -> SqlReading:
        """The store that is asked. Raises `InvalidQuery` where there is none."""

    def _key_value_store(self) -> KeyValueReading:
        """The store that is asked about values under keys."""
        return self._sql_store()

    async def task(self, task_id: str) -> StoredTask | None:
        """One task; None when it is not there (yet)."""
        return await self._sql_store().task(_text("task_id", task_id))

    async def tasks(
        self, *, ascending: bool = True, limit: int = 100, after: str | None = None, **filters: Unpack[TaskFilters]
    ) -> Page[StoredTask]:
        """A page of tasks by the time they were first saved, those of one microsecond by id."""
        course = Course.TASKS_OLDEST_FIRST if ascending else Course.TASKS_NEWEST_FIRST
        query = TaskQuery(
            **words(TaskFilters, filters),
            ascending=ascending,
            limit=checked_limit(limit) + 1,
            after=position(after, course),
        )
        return page_of(await self._sql_store().tasks(query), limit, course, _place)

    def all_tasks(self, *, ascending: bool = True, **filters: Unpack[TaskFilters]) -> AsyncIterator[StoredTask]:
        """Every task of every page, fetched as the iteration goes on."""
        return every_item(lambda limit, after: self.tasks(ascending=ascending, limit=limit, after=after, **filters))

    async def count_tasks(self, **filters: Unpack[TaskFilters]) -> int:
        """How many tasks match."""
        return await self._sql_store().count_tasks(TaskQuery(**words(TaskFilters, filters)))

    async def agent_state(self, agent_id: str) -> StoredAgentState | None:
        """The state of one agent; None when it is not there (yet)."""
        return await self._sql_store().agent_state(_text("agent_id", agent_id))

    async def agent_states(
        self, *, limit: int = 100, after: str | None = None, **filters: Unpack[AgentStateFilters]
    ) -> Page[StoredAgentState]:
        """A page of agents' states by agent id."""
        course = Course.AGENT_STATES_BY_ID
        query = AgentStateQuery(
            **words(AgentStateFilters, filters), limit=checked_limit(limit) + 1, after=position(after, course)
        )
        return page_of(
            await self._sql_store().agent_states(query), limit, course, lambda row: Position(0, row.agent_id)
        )

    async def agent_statistics(self, agent_id: str) -> AgentStatistics:
        """What one agent has done: its tasks, log events and contexts. All zero for one that nothing is known of."""
        return await self._sql_store().agent_statistics(_text("agent_id", agent_id), self._clock())

    async def context(self, context_id: str) -> StoredContext | None:
        """One context; None when it is not there (yet), or has expired."""
        return await self._sql_store().context(_text("context_id", context_id), self._clock())

    async def contexts(
        self, *, ascending: bool = True, limit: int = 100, after: str | None = None, **filters: Unpack[ContextFilters]
    ) -> Page[StoredContext]:
        """A page of contexts by the time they were first saved, those of one microsecond by id."""
        course = Course.CONTEXTS_OLDEST_FIRST if ascending else Course.CONTEXTS_NEWEST_FIRST
        query = ContextQuery(
            **words(ContextFilters, filters),
            now_us=self._clock(),
            ascending=ascending,
            limit=checked_limit(limit) + 1,
            after=position(after, course),
        )
        return page_of(await self._sql_store().contexts(query), limit, course, _place)

    async def count_contexts(self, **filters: Unpack[ContextFilters]) -> int:
        """How many contexts match."""
        return await self._sql_store().count_contexts(
            ContextQuery(**words(ContextFilters, filters), now_us=self._clock())
        )

    async def key_value(self, key: str, *, namespace: str = DEFAULT_NAMESPACE) -> StoredKeyValue | None:
        """What is stored under one key; None when it is not there (yet), or has expired."""
        return await self._key_value_store().key_value(_text("namespace", namespace), _text("key", key), self._clock())

    async def value(self, key: str, default: Any = None, *, namespace: str = DEFAULT_NAMESPACE) -> Any:
        """The value under one key, which may be None; *default* when it is not there (yet), or has expired."""
        found = await self.key_value(key, namespace=namespace)
        return default if found is None else found.value

    async def document(self, collection: str, id: str) -> StoredDocument | None:  # noqa: A002 - as it was sent
        """What was sent as `document` under one id; None when it is not there (yet)."""
        found = await self.key_value(id, namespace=document_namespace(collection))
        if found is None:
            return None
        return StoredDocument(
            collection=collection,
            id=found.key,
            text=found.value["text"],
            metadata=found.value["metadata"],
            embedded=EMBEDDED_IN in found.value,
            created_at=found.created_at,
            updated_at=found.updated_at,
        )

    async def key_values(
        self, prefix: str = "", *, namespace: str = DEFAULT_NAMESPACE, limit: int = 100, after: str | None = None
    ) -> Page[StoredKeyValue]:
        """A page of what is stored under the keys that begin with *prefix*, by key. The prefix has no wildcards."""
        course = Course.KEY_VALUES_BY_KEY
        query = KeyValueQuery(
            now_us=self._clock(),
            namespace=_text("namespace", namespace),
            prefix=_text("prefix", prefix),
            limit=checked_limit(limit) + 1,
            after=position(after, course),
        )
        return page_of(await self._key_value_store().key_values(query), limit, course, lambda row: Position(0, row.key))

    async def get_many(self, keys: Sequence[str], *, namespace: str = DEFAULT_NAMESPACE) -> list[StoredKeyValue | None]:
        """What is stored under each of *keys*, in their order; None where a key is not there (yet), or has expired."""
        if isinstance(keys, str) or len(keys) > MAX_LIMIT:
            raise InvalidQuery(f"keys: a list of at most {MAX_LIMIT:,} keys is needed")
        wanted = [_text("keys", key) for key in keys]
        if not wanted:
            return []
        stored = await self._key_value_store().key_values_of(_text("namespace", namespace), wanted, self._clock())
        found = {each.key: each for each in stored}
        return [found.get(key) for key in wanted]


def _text(name: str, value: str) -> str:
    """*value* as it would have been stored."""
    with checked_values():
        return clean_text(name, value)


def _place(row: StoredTask | StoredContext) -> Position:
    return Position(to_us(row.created_at, "created_at"), row.id)
