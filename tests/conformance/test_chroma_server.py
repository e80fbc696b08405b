"""Chroma's own server passes the contract; what two stores of one server do to each other."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from penstock.stores.chroma import open_vector
from penstock.stores.chroma.homes import Server
from penstock.stores.errors import DimensionMismatch, StoreUnavailable
from penstock.stores.points.store import PointStore
from penstock.stores.vector_contract import VectorStore
from penstock.testing.conformance.vector_records import Row, embedding, floats
from penstock.testing.conformance.vectors import VectorStoreConformance
from tests.conformance.chroma_reader import read_rows, serving
from tests.conformance.qdrant_reader import quick_folder


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with quick_folder() as folder, serving(folder) as port:
        yield port


@pytest.fixture
async def store(port: int) -> AsyncIterator[PointStore]:
    """One without collections."""
    store = open_vector(f"chroma://127.0.0.1:{port}/")
    await store.setup()
    for name in await store.collections():
        await store.drop(name)
    yield store
    await store.close()


@pytest.fixture
async def other(port: int) -> AsyncIterator[PointStore]:
    store = open_vector(f"chroma://127.0.0.1:{port}/")
    yield store
    await store.close()


@pytest.fixture(scope="module")
def beside(port: int) -> Iterator[Any]:
    """A client of its own."""
    with contextlib.ExitStack() as held:
        yield Server(host="127.0.0.1", port=port).connect(held)


class TestChromaServer(VectorStoreConformance):
    @pytest.fixture(autouse=True)
    def keep(self, beside: Any) -> None:
        self.client = beside

    async def stored(self, store: VectorStore, collection: str) -> dict[str, Row]:
        return read_rows(self.client, collection)


async def test_a_server_that_is_away_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    store = open_vector(f"chroma://127.0.0.1:{port}/?token=s3cret&ssl=false")

    for call in (store.setup, store.check, lambda: store.write([embedding("a")]), store.collections):
        with pytest.raises(StoreUnavailable, match=str(port)) as caught:
            await call()
        assert "s3cret" not in f"{caught.value!r} {caught.value.__cause__!r}"
    await store.close()


async def test_what_one_writes_the_other_reads(store: PointStore, other: PointStore) -> None:
    await store.write([embedding("a", at_us=5, metadata={"n": 1})])

    assert await other.write([embedding("a", at_us=4), embedding("b")]) == 1
    assert [hit.id for hit in await store.search("docs", floats(1, 0), 5)] == ["a", "b"]
    assert [hit.id for hit in await other.search("docs", floats(1, 0), 5, {"n": {"$gt": 0}})] == ["a"]


async def test_a_collection_that_another_one_dropped_and_made_anew_is_seen_as_it_is(
    store: PointStore, other: PointStore
) -> None:
    await store.write([embedding("a", 1, 0)])
    await other.drop("docs")
    assert list(await store.search("docs", floats(1, 0), 5)) == []
    await other.write([embedding("a", 1, 0, 0)])

    with pytest.raises(DimensionMismatch, match="3 numbers"):
        await store.write([embedding("b", 1, 0)])
    with pytest.raises(DimensionMismatch, match="3 numbers"):
        await store.search("docs", floats(1, 0), 5)
    assert await store.write([embedding("b", 1, 0, 0)]) == 1
    assert await store.count_vectors("docs") == 2
