"""The in-memory vector store passes the contract."""

from __future__ import annotations

from array import array
from collections.abc import AsyncIterator

import pytest

from penstock.stores.memory.vectors import MemoryVectors, open_vector
from penstock.stores.vector_contract import VectorStore
from penstock.testing.conformance.vector_records import Row
from penstock.wire.records import Embedding
from penstock.wire.text import load_object
from tests.conformance.replay_contract import VectorReplayConformance


class TestMemoryVectors(VectorReplayConformance):
    @pytest.fixture
    async def store(self) -> AsyncIterator[MemoryVectors]:
        store = open_vector("memory://")
        await store.setup()
        yield store
        await store.close()

    async def stored(self, store: VectorStore, collection: str) -> dict[str, Row]:
        assert isinstance(store, MemoryVectors)
        return {
            key: Row(list(array("f", each.vector)), each.text, load_object(each.metadata), each.created_at_us)
            for key, each in store._rows(collection).items()
            if isinstance(each, Embedding)
        }
