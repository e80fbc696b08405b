"""The in-memory SQL store passes the contract."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from penstock.stores.memory.sql import open_sql
from penstock.testing.conformance.records import Backend, Counts
from penstock.testing.conformance.sql import SqlStoreConformance
from tests.conformance.replay_contract import ReplayConformance


class TestMemorySql(ReplayConformance, SqlStoreConformance):
    """Looked at through its dicts."""

    @asynccontextmanager
    async def fresh(self) -> AsyncIterator[Backend]:
        store = open_sql("memory://")
        await store.setup()
        yield Backend(
            store,
            lambda: list(store._messages.values()),
            lambda: list(store._logs.values()),
            lambda: {row[0]: Counts(*row[3:]) for row in store._sessions.values()},
            lambda: sorted((*key, row[3]) for key, row in store._chunks.items()),
            lambda: list(store._state._rows.values()),
        )
        await store.close()
