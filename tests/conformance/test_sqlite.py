"""The SQLite store passes the contract, on a file."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from penstock.stores.sqlite import open_sql
from penstock.testing.conformance.records import Backend
from penstock.testing.conformance.sql import SqlStoreConformance
from tests.conformance.replay_contract import ReplayConformance
from tests.conformance.sqlite_file import (
    indexed_words,
    session_counts,
    stored_chunks,
    stored_logs,
    stored_messages,
    stored_states,
)


class TestSqlite(ReplayConformance, SqlStoreConformance):
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
