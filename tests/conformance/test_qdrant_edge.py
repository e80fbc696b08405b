"""Qdrant's engine in this process passes the contract; what is its own beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from penstock.stores.qdrant.edge import EdgeEngine, open_vector
from penstock.stores.qdrant.store import QdrantStore
from penstock.stores.vector_contract import VectorStore
from penstock.testing.conformance.vectors import Row, VectorStoreConformance
from tests.conformance.qdrant_reader import quick_folder, read_collection


@pytest.fixture
async def store() -> AsyncIterator[QdrantStore]:
    with quick_folder() as folder:
        store = open_vector(f"qdrant-edge:///{folder}/vectors")
        await store.setup()
        yield store
        await store.close()


class TestQdrantEdge(VectorStoreConformance):
    async def stored(self, store: VectorStore, collection: str) -> dict[str, Row]:
        assert isinstance(store, QdrantStore)
        assert isinstance(store._engine, EdgeEngine)
        return read_collection(store._engine.folder / collection)
