"""State in this process's memory."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, TypeVar

from penstock.stores import states, surface
from penstock.stores.queries import AgentStateQuery, ContextQuery, KeyValueQuery, Position, TaskQuery
from penstock.stores.rows import StoredAgentState, StoredContext, StoredKeyValue, StoredTask
from penstock.wire.records import AgentState, Context, KeyValue, StateRecord, Task

_Row = TypeVar("_Row", Task, AgentState, Context, KeyValue)


class MemoryState:
    """Tasks, agents' states, contexts and key-values by their keys. See `SqlReading` for what it answers."""

    def __init__(self) -> None:
        self._rows: dict[Hashable, states.Row] = {}

    def put(self, record: StateRecord) -> bool:
        """Take *record*, if it is newer than what is there."""
        return states.put(self._rows, record)

    def task(self, task_id: str) -> StoredTask | None:
        """See `SqlReading.task`."""
        row = self._find(Task, task_id)
        return None if row is None else surface.stored_task(row)

    def tasks(self, query: TaskQuery) -> Sequence[StoredTask]:
        """See `SqlReading.tasks`."""
        rows = _page(self._matching_tasks(query), _place_of_task, query, ascending=query.ascending)
        return [surface.stored_task(row) for row in rows]

    def count_tasks(self, query: TaskQuery) -> int:
        """See `SqlReading.count_tasks`."""
        return len(self._matching_tasks(query))

    def agent_state(self, agent_id: str) -> StoredAgentState | None:
        """See `SqlReading.agent_state`."""
        row = self._find(AgentState, agent_id)
        return None if row is None else surface.stored_agent_state(row)

    def agent_states(self, query: AgentStateQuery) -> Sequence[StoredAgentState]:
        """See `SqlReading.agent_states`."""
        found = [
            row
            for row in self._live(AgentState)
            if _has(row, query, "state", "role") and query.active in (None, row.state != "archived")
        ]
        return [surface.stored_agent_state(row) for row in _page(found, lambda row: (0, row.agent_id), query)]

    def context(self, context_id: str, now_us: int) -> StoredContext | None:
        """See `SqlReading.context`."""
        row = self._find(Context, context_id)
        return None if row is None or _has_expired(row, now_us) else surface.stored_context(row)

    def contexts(self, query: ContextQuery) -> Sequence[StoredContext]:
        """See `SqlReading.contexts`."""
        rows = _page(self._matching_contexts(query), _place_of_context, query, ascending=query.ascending)
        return [surface.stored_context(row) for row in rows]

    def count_contexts(self, query: ContextQuery) -> int:
        """See `SqlReading.count_contexts`."""
        return len(self._matching_contexts(query))

    def key_value(self, namespace: str, key: str, now_us: int) -> StoredKeyValue | None:
        """See `SqlReading.key_value`."""
        row = self._find(KeyValue, namespace, key)
        return None if row is None or _has_expired(row, now_us) else surface.stored_key_value(row)

    def key_values(self, query: KeyValueQuery) -> Sequence[StoredKeyValue]:
        """See `SqlReading.key_values`."""
        found = [
            row
            for row in self._live(KeyValue)
            if row.namespace == query.namespace
            and row.key.startswith(query.prefix)
            and not _has_expired(row, query.now_us)
        ]
        return [surface.stored_key_value(row) for row in _page(found, lambda row: (0, row.key), query)]

    def _matching_tasks(self, query: TaskQuery) -> list[Task]:
        return [
            row
            for row in self._live(Task)
            if _has(row, query, "agent_id", "status", "task_type", "enabled")
            and (query.since_us is None or _first(row) >= query.since_us)
            and (query.until_us is None or _first(row) < query.until_us)
        ]

    def _matching_contexts(self, query: ContextQuery) -> list[Context]:
        return [
            row
            for row in self._live(Context)
            if _has(row, query, "agent_id", "session_id") and not _has_expired(row, query.now_us)
        ]

    def _find(self, table: type[_Row], *key: str) -> _Row | None:
        row = self._rows.get((table, key))
        return row if isinstance(row, table) and row.deleted_at_us is None else None

    def _live(self, table: type[_Row]) -> list[_Row]:
        return [row for row in self._rows.values() if isinstance(row, table) and row.deleted_at_us is None]


def _has(row: Any, query: Any, *names: str) -> bool:
    return all(getattr(query, name) in (None, getattr(row, name)) for name in names)


def _has_expired(row: Context | KeyValue, now_us: int) -> bool:
    return row.expires_at_us is not None and row.expires_at_us <= now_us


def _first(row: states.Row) -> int:
    return row.created_at_us if row.first_at_us is None else row.first_at_us


def _place_of_task(row: Task) -> tuple[int, str]:
    return _first(row), row.task_id


def _place_of_context(row: Context) -> tuple[int, str]:
    return _first(row), row.context_id


def _page(
    rows: Iterable[_Row], place: Callable[[_Row], tuple[int, str]], query: Any, *, ascending: bool = True
) -> list[_Row]:
    after: Position | None = query.after
    ordered = sorted(rows, key=place, reverse=not ascending)
    if after is not None:
        ordered = [row for row in ordered if (place(row) > after if ascending else place(row) < after)]
    return ordered[: query.limit]
