"""What several test files share: a SQLite file, a schema of vectors. Contract classes bring their own `store`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from penstock.stores.pgvector import PgVectorStore, open_vector
from penstock.stores.sqlite import SqliteStore, open_sql
from tests.conformance import pgvector_tables
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
def _vector_home(postgres: Postgres) -> Iterator[Schema]:
    with postgres.schema() as schema:
        asyncio.run(pgvector_tables.set_up(schema))
        yield schema


@pytest.fixture
def vector_schema(_vector_home: Schema) -> Iterator[Schema]:
    """One with the tables of a store of vectors, and no collection."""
    yield _vector_home
    pgvector_tables.empty(_vector_home)


@pytest.fixture
async def pgvector(vector_schema: Schema) -> AsyncIterator[PgVectorStore]:
    store = open_vector(vector_schema.url)
    yield store
    await store.close()
