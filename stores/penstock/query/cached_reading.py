"""A SQL store behind a cache: the questions that are asked again and again, by id and in short lists."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from penstock.stores.contract import SqlReading
from penstock.stores.queries import AgentStateQuery, SessionQuery, TaskQuery
from penstock.stores.rows import Session, StoredAgentState, StoredTask
from penstock.wire.caching import Subject

if TYPE_CHECKING:
    from penstock.query.cache import Cache


def digest(*parts: object) -> str:
    """A question in few bytes. Its parts have a `repr` that tells all of them."""
    return hashlib.blake2b(repr(parts).encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


class CachedReading:
    """See `SqlReading`: every other question goes to the store."""

    def __init__(self, store: SqlReading, cache: Cache) -> None:
        self._store = store
        self._cache = cache

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def task(self, task_id: str) -> StoredTask | None:
        """See `SqlReading.task`."""
        return await self._cache.answer(
            Subject("task", task_id), digest(), lambda: self._store.task(task_id), StoredTask
        )

    async def tasks(self, query: TaskQuery) -> Sequence[StoredTask]:
        """See `SqlReading.tasks`."""
        return await self._cache.answer(Subject("tasks"), digest(query), lambda: self._store.tasks(query), StoredTask)

    async def count_tasks(self, query: TaskQuery) -> int:
        """See `SqlReading.count_tasks`."""
        return await self._cache.answer(
            Subject("tasks"), digest("count", query), lambda: self._store.count_tasks(query), None
        )

    async def agent_state(self, agent_id: str) -> StoredAgentState | None:
        """See `SqlReading.agent_state`."""
        return await self._cache.answer(
            Subject("agent_state", agent_id), digest(), lambda: self._store.agent_state(agent_id), StoredAgentState
        )

    async def agent_states(self, query: AgentStateQuery) -> Sequence[StoredAgentState]:
        """See `SqlReading.agent_states`."""
        return await self._cache.answer(
            Subject("agent_states"), digest(query), lambda: self._store.agent_states(query), StoredAgentState
        )

    async def session(self, session_id: str, *, with_last_message: bool = False) -> Session | None:
        """See `SqlReading.session`."""
        return await self._cache.answer(
            Subject("session", session_id),
            digest(with_last_message),
            lambda: self._store.session(session_id, with_last_message=with_last_message),
            Session,
        )

    async def sessions(self, query: SessionQuery) -> Sequence[Session]:
        """See `SqlReading.sessions`."""
        return await self._cache.answer(
            Subject("sessions"), digest(query), lambda: self._store.sessions(query), Session
        )
