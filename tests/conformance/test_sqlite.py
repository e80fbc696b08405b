"""The SQLite store passes the contract, on a file."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from penstock.stores.sqlite import open_sql
from tests.conformance.bad_input_contract import BadInputConformance
from tests.conformance.deletion_contract import DeletionConformance
from tests.conformance.rehearsal_contract import RehearsalConformance
from tests.conformance.replay_contract import ReplayConformance
from tests.conformance.search_contract import SearchConformance
from tests.conformance.secrets_contract import SecretsConformance
from tests.conformance.sql_contract import SqlStoreConformance
from tests.conformance.sql_records import Backend
from tests.conformance.sqlite_file import (
    indexed_words,
    session_counts,
    stored_chunks,
    stored_logs,
    stored_messages,
    stored_states,
)
from tests.conformance.state_contract import StateConformance
from tests.conformance.upkeep_contract import UpkeepConformance


class TestSqlite(
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
    """Looked at through a connection of the standard library."""

    @asynccontextmanager
    async def fresh(self) -> AsyncIterator[Backend]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "p.db"
            store = open_sql(f"sqlite:///{path}")
            await store.setup()
            try:
                yield Backend(
                    store,
                    lambda: stored_messages(path),
                    lambda: stored_logs(path),
                    lambda: session_counts(path),
                    lambda: stored_chunks(path),
                    lambda: stored_states(path),
                    lambda: indexed_words(path),
                )
            finally:
                await store.close()
