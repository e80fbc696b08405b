"""State in this process's memory."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from typing import TypeVar

from penstock.stores import states, surface
from penstock.stores.memory.matching import first, has, has_expired, matching_contexts, matching_tasks, page
from penstock.stores.queries import AgentStateQuery, ContextQuery, KeyValueQuery, TaskQuery
from penstock.stores.rows import StoredAgentState, StoredContext, StoredKeyValue, StoredTask
from penstock.stores.states import Was
from penstock.stores.surface import DURATION_SCALE, TasksOfStatus
from penstock.wire.records import AgentState, Context, KeyValue, Record, StateRecord, Task

_Row = TypeVar("_Row", Task, AgentState, Context, KeyValue)


class MemoryState:
    """Tasks, agents' states, contexts and key-values by their keys. See `SqlReading` for what it answers."""

    def __init__(self) -> None:
        self._rows: dict[Hashable, states.Row] = {}

    def put(self, record: StateRecord) -> bool:
        """Take *record*, if it is newer than what is there."""
        return states.put(self._rows, record)

    def place(self, records: Sequence[KeyValue], now_us: int, *, if_absent: bool) -> list[Was]:
        """See `KeyValueStore.put`."""
        known = (self._rows.get((KeyValue, states.key_of(record))) for record in records)
        stored = [row for row in known if isinstance(row, KeyValue)]
        rows, was = states.placed(stored, records, now_us, if_absent=if_absent)
        self._rows.update({(KeyValue, states.key_of(row)): row for row in rows})
        return was

    @property
    def by_key(self) -> dict[Hashable, states.Row]:
        """Every row, deleted or not, as `states.put` keeps it."""
        return self._rows

    def entomb(self, keys: Iterable[Hashable], now_us: int) -> None:
        """Leave of these rows their keys, times and stamps, as tombstones of *now_us*."""
        for key in keys:
            row = self._rows[key]
            row = row._replace(deleted_at_us=now_us if row.deleted_at_us is None else row.deleted_at_us)
            if isinstance(row, Context):
                row = row._replace(data=None, agent_id=None, session_id=None, expires_at_us=None)
            elif isinstance(row, KeyValue):
                row = row._replace(value=None, expires_at_us=None)
            self._rows[key] = row

    def rows(self, table: type[Record]) -> list[Record]:
        """Every row of one kind, deleted or not."""
        return [row for row in self._rows.values() if isinstance(row, table)]

    def task(self, task_id: str) -> StoredTask | None:
        """See `SqlReading.task`."""
        row = self._find(Task, task_id)
        return None if row is None else surface.stored_task(row)

    def tasks(self, query: TaskQuery) -> Sequence[StoredTask]:
        """See `SqlReading.tasks`."""
        found = matching_tasks(self._live(Task), query)
        return [surface.stored_task(row) for row in page(found, _place_of_task, query, ascending=query.ascending)]

    def count_tasks(self, query: TaskQuery) -> int:
        """See `SqlReading.count_tasks`."""
        return len(matching_tasks(self._live(Task), query))

    def tasks_by_status(self, agent_id: str) -> list[TasksOfStatus]:
        """What `SqlReading.agent_statistics` counts of an agent's tasks."""
        found: dict[str, list[Task]] = {}
        for row in self._live(Task):
            if row.agent_id == agent_id:
                found.setdefault(row.status, []).append(row)
        return [_counted(status, rows) for status, rows in found.items()]

    def agent_state(self, agent_id: str) -> StoredAgentState | None:
        """See `SqlReading.agent_state`."""
        row = self._find(AgentState, agent_id)
        return None if row is None else surface.stored_agent_state(row)

    def agent_states(self, query: AgentStateQuery) -> Sequence[StoredAgentState]:
        """See `SqlReading.agent_states`."""
        found = [
            row
            for row in self._live(AgentState)
            if has(row, query, "state")
            and (not query.roles or row.role in query.roles)
            and query.active in (None, row.state != "archived")
        ]
        return [
            surface.stored_agent_state(row) for row in page(found, lambda row: (0, row.agent_id), query, ascending=True)
        ]

    def context(self, context_id: str, now_us: int) -> StoredContext | None:
        """See `SqlReading.context`."""
        row = self._find(Context, context_id)
        return None if row is None or has_expired(row, now_us) else surface.stored_context(row)

    def contexts(self, query: ContextQuery) -> Sequence[StoredContext]:
        """See `SqlReading.contexts`."""
        found = matching_contexts(self._live(Context), query)
        return [surface.stored_context(row) for row in page(found, _place_of_context, query, ascending=query.ascending)]

    def count_contexts(self, query: ContextQuery) -> int:
        """See `SqlReading.count_contexts`."""
        return len(matching_contexts(self._live(Context), query))

    def key_value(self, namespace: str, key: str, now_us: int) -> StoredKeyValue | None:
        """See `SqlReading.key_value`."""
        row = self._find(KeyValue, namespace, key)
        return None if row is None or has_expired(row, now_us) else surface.stored_key_value(row)

    def key_values(self, query: KeyValueQuery) -> Sequence[StoredKeyValue]:
        """See `SqlReading.key_values`."""
        found = [
            row
            for row in self._live(KeyValue)
            if row.namespace == query.namespace
            and row.key.startswith(query.prefix)
            and not has_expired(row, query.now_us)
        ]
        return [surface.stored_key_value(row) for row in page(found, lambda row: (0, row.key), query, ascending=True)]

    def _find(self, table: type[_Row], *key: str) -> _Row | None:
        row = self._rows.get((table, key))
        return row if isinstance(row, table) and row.deleted_at_us is None else None

    def _live(self, table: type[_Row]) -> list[_Row]:
        return [row for row in self._rows.values() if isinstance(row, table) and row.deleted_at_us is None]


def _place_of_task(row: Task) -> tuple[int, str]:
    return first(row), row.task_id


def _place_of_context(row: Context) -> tuple[int, str]:
    return first(row), row.context_id


def _counted(status: str, rows: Sequence[Task]) -> TasksOfStatus:
    durations = [row.duration_s * DURATION_SCALE for row in rows if row.duration_s is not None]
    return TasksOfStatus(status, len(rows), len(durations), math.fsum(durations), max(map(first, rows)))
