"""The PostgreSQL store passes the contract, on a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar

import pytest

from penstock.stores.postgres import open_sql
from penstock.testing.conformance.records import Backend
from penstock.testing.conformance.sql import SqlStoreConformance
from tests.conformance.postgres_server import Postgres
from tests.conformance.replay_contract import ReplayConformance


class TestPostgres(ReplayConformance, SqlStoreConformance):
    """Looked at through a connection of the driver's own, in another thread."""

    server: ClassVar[Postgres]

    @asynccontextmanager
    async def fresh(self) -> AsyncIterator[Backend]:
        with self.server.used_again("level 1") as schema:
            store = open_sql(schema.url)
            await store.setup()
            try:
                yield Backend(
                    store, schema.messages, schema.logs, schema.counts, schema.chunks, schema.states, schema.words
                )
            finally:
                await store.close()


@pytest.fixture(scope="module", autouse=True)
def _served(postgres: Postgres) -> None:
    """For `fresh`, which can ask for no fixture: a property calls it once for each example."""
    TestPostgres.server = postgres
