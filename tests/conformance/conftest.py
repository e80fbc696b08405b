"""A SQLite file and a PostgreSQL server, for the tests about them. Contract classes bring their own `store`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from penstock.stores.sqlite import SqliteStore, open_sql
from tests.conformance.postgres_server import Postgres, Schema


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "p.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    """In haste, so that a test of a lock need not wait for it."""
    store = open_sql(f"sqlite:///{path}?busy_timeout_ms=20")
    await store.setup()
    yield store
    await store.close()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """One PostgreSQL for the whole run, out of a wheel; tests keep apart by their schemas."""
    server = Postgres(tmp_path_factory.mktemp("postgres"))
    yield server
    server.close()


@pytest.fixture
def schema(postgres: Postgres) -> Iterator[Schema]:
    with postgres.schema() as schema:
        yield schema
