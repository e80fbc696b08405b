"""The LanceDB store passes the contract."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from penstock.stores.contract import VectorStore
from penstock.stores.lancedb import LanceStore, open_vector
from tests.conformance.lance_reader import read_table
from tests.conformance.vector_contract import Row, VectorStoreConformance


class TestLanceStore(VectorStoreConformance):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[LanceStore]:
        store = open_vector(f"lancedb:///{tmp_path / 'vectors'}")
        await store.setup()
        yield store
        await store.close()

    async def stored(self, store: VectorStore, collection: str) -> dict[str, Row]:
        assert isinstance(store, LanceStore)
        return read_table(store.folder, collection)
