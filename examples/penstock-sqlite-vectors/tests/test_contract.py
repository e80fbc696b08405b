"""The store passes Penstock's contract, unchanged, and what is its own beside it."""

from __future__ import annotations

import array
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from penstock.stores import BadStoreURL, StoreUnavailable
from penstock.stores.vector_contract import VectorStore
from penstock.testing.conformance import Row, VectorStoreConformance
from penstock_sqlite_vectors import SqliteVectors, open_vector


class TestSqliteVectors(VectorStoreConformance):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[SqliteVectors]:
        store = open_vector(f"sqlite-vectors:///{tmp_path}/new folder/vectors.db")
        await store.setup()
        yield store
        await store.close()

    async def stored(self, store: VectorStore, collection: str) -> dict[str, Row]:
        """Past the store, through a connection of its own."""
        assert isinstance(store, SqliteVectors)
        with closing(sqlite3.connect(store.file)) as connection:
            rows = connection.execute(
                "SELECT key, vector, text, metadata, created_at FROM vectors WHERE collection = ?", (collection,)
            ).fetchall()
        return {
            key: Row(array.array("f", vector).tolist(), text, json.loads(metadata or b"{}"), created_at)
            for key, vector, text, metadata, created_at in rows
            if vector is not None
        }


@pytest.mark.parametrize("url", ["sqlite-vectors://", "sqlite-vectors:///", "sqlite-vectors://host/file"])
def test_a_url_without_a_file_is_refused_with_the_remedy(url: str) -> None:
    with pytest.raises(BadStoreURL, match="sqlite-vectors:///relative/file"):
        open_vector(url)


async def test_a_file_that_is_not_there_is_unavailable_and_is_not_made(tmp_path: Path) -> None:
    store = open_vector(f"sqlite-vectors:///{tmp_path}/vectors.db")

    with pytest.raises(StoreUnavailable, match=r"vectors\.db"):
        await store.check()
    await store.close()

    assert not (tmp_path / "vectors.db").exists()


async def test_a_closed_store_is_unavailable(tmp_path: Path) -> None:
    store = open_vector(f"sqlite-vectors:///{tmp_path}/vectors.db")
    await store.setup()
    await store.close()

    with pytest.raises(StoreUnavailable, match="closed"):
        await store.check()
