"""The in-memory SQL store passes the contract."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from penstock.stores.memory.sql import open_sql
from tests.conformance.bad_input_contract import BadInputConformance
from tests.conformance.deletion_contract import DeletionConformance
from tests.conformance.rehearsal_contract import RehearsalConformance
from tests.conformance.replay_contract import ReplayConformance
from tests.conformance.search_contract import SearchConformance
from tests.conformance.secrets_contract import SecretsConformance
from tests.conformance.sql_contract import SqlStoreConformance
from tests.conformance.sql_records import Backend, Counts
from tests.conformance.state_contract import StateConformance
from tests.conformance.upkeep_contract import UpkeepConformance


class TestMemorySql(
    SearchConformance,
    UpkeepConformance,
    StateConformance,
    DeletionConformance,
    BadInputConformance,
    RehearsalConformance,
    ReplayConformance,
    SecretsConformance,
    SqlStoreConformance,
):
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
