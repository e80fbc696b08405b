"""The store of a Qdrant server passes the contract, over a real socket; what is its own beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from penstock.stores.qdrant.server import open_vector
from penstock.stores.qdrant.store import QdrantStore
from penstock.stores.vector_contract import VectorStore
from penstock.testing.conformance.vectors import Row, VectorStoreConformance
from tests.conformance.qdrant_reader import quick_folder, read_collection
from tests.conformance.qdrant_server import Answers, serving


@pytest.fixture
async def answers() -> AsyncIterator[Answers]:
    with quick_folder() as folder:
        yield Answers(folder)


@pytest.fixture
async def port(answers: Answers) -> AsyncIterator[int]:
    async with serving(answers) as port:
        yield port


@pytest.fixture
async def store(port: int) -> AsyncIterator[QdrantStore]:
    store = open_vector(f"qdrant://127.0.0.1:{port}/")
    await store.setup()
    yield store
    await store.close()


class TestQdrantServer(VectorStoreConformance):
    @pytest.fixture(autouse=True)
    def keep(self, answers: Answers) -> None:
        self.answers = answers

    async def stored(self, store: VectorStore, collection: str) -> dict[str, Row]:
        return read_collection(self.answers.folder / collection)
