"""The store of Weaviate passes the contract over real sockets, with its own client; what is its own beside it."""

from __future__ import annotations

import base64
import socket
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs

from penstock.stores import registry
from penstock.stores.errors import BadStoreURL, DimensionMismatch, StoreRejected, StoreUnavailable, Unsupported
from penstock.stores.points.store import PointStore
from penstock.stores.vector_contract import VectorStore
from penstock.stores.weaviate import engine as engines
from penstock.stores.weaviate.address import Address, parse
from penstock.stores.weaviate.naming import class_of
from penstock.stores.weaviate.store import open_vector
from penstock.testing.conformance.vector_records import Row, deletion, embedding, floats
from penstock.testing.conformance.vectors import VectorStoreConformance
from tests.conformance.weaviate_server import Stored, Weaviate, numbers, serving, with_defaults


@pytest.fixture
async def server() -> Weaviate:
    return Weaviate()


@pytest.fixture
async def url(server: Weaviate) -> AsyncIterator[str]:
    async with serving(server) as (rest, grpc):
        yield f"weaviate://127.0.0.1:{rest}/?grpc_port={grpc}"


@pytest.fixture
async def store(url: str) -> AsyncIterator[PointStore]:
    store = open_vector(url)
    await store.setup()
    yield store
    await store.close()


@pytest.fixture
async def other(url: str) -> AsyncIterator[PointStore]:
    store = open_vector(url)
    yield store
    await store.close()


def read(server: Weaviate, collection: str) -> dict[str, Row]:
    """What the server holds, tombstones left out."""
    if class_of(collection) not in server.classes:
        return {}
    found = server.classes[class_of(collection)].objects.values()
    rows = [(each.properties["key"], _row(each)) for each in found if "!deleted;" not in each.properties["terms"]]
    assert len(dict(rows)) == len(rows), "a key is stored twice"
    return dict(rows)


def _row(stored: Stored) -> Row:
    sent = stored.properties.get("sent")
    vector = base64.b64decode(sent) if sent else stored.vector
    assert vector is not None
    kept: dict[str, Any] = stored.properties
    return Row(numbers(vector), kept.get("text"), orjson.loads(kept.get("metadata", "{}")), int(kept["at"]))


class TestWeaviate(VectorStoreConformance):
    @pytest.fixture(autouse=True)
    def keep(self, server: Weaviate) -> None:
        self.server = server

    async def stored(self, store: VectorStore, collection: str) -> dict[str, Row]:
        return read(self.server, collection)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("weaviate://db", Address(host="db", grpc_host="db")),
        (
            "weaviate://db:1/?grpc_port=2&metric=dot",
            Address(host="db", port=1, grpc_host="db", grpc_port=2, metric="dot"),
        ),
        (
            "weaviate://db/?api_key=k%26y&grpc_host=grpc-db",
            Address(host="db", port=443, grpc_host="grpc-db", grpc_port=443, https=True, api_key="k&y"),
        ),
        ("weaviate://db/?api_key=key&https=false", Address(host="db", grpc_host="db", api_key="key")),
    ],
)
def test_the_url_names_a_server(url: str, address: Address) -> None:
    assert parse(url) == address
    assert isinstance(registry.vector_store(url), PointStore)


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("weaviate://?api_key=secret", "needs a host"),
        ("weaviate://:secret@db", "needs a host"),
        ("weaviate://db/docs?api_key=secret", "no path"),
        ("weaviate://db:99999?api_key=secret", "8080"),
        ("weaviate://db?api_key=secret&grpc_port=x", "50051"),
        ("weaviate://db?api_key=secret&https=yes", "true or false"),
        ("weaviate://db?key=secret", "known are grpc_port"),
        ("weaviate://db?api_key=secret&metric=manhattan", "cosine, dot, l2"),
    ],
)
def test_a_url_that_names_no_server_is_refused_without_its_key(url: str, remedy: str) -> None:
    with pytest.raises(BadStoreURL, match=remedy) as caught:
        open_vector(url)
    assert "secret" not in str(caught.value)


async def test_a_key_opens_the_server_and_is_told_nowhere(
    server: Weaviate, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    server.api_key = "s3cret"
    right = open_vector(f"{url}&api_key=s3cret&https=false")
    wrong = open_vector(f"{url}&api_key=other-s3cret&https=false")

    with capture_logs() as logs:
        await right.setup()
        assert await right.write([embedding("a")]) == 1
        with pytest.raises(StoreUnavailable, match="api_key") as caught:
            await wrong.write([embedding("a")])
    told = f"{caught.value!r} {caught.value.__cause__!r} {logs} {caplog.text} {vars(right._engine)}"
    assert "s3cret" not in told
    await right.close()
    await wrong.close()


async def test_a_server_without_not_is_told_to_be_upgraded(server: Weaviate, other: PointStore) -> None:
    server.version = "1.32.9"

    with pytest.raises(StoreUnavailable, match=r"1\.32\.9.*1\.33"):
        await other.setup()


async def test_a_server_that_is_away_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    store = open_vector(f"weaviate://127.0.0.1:{port}/")

    for call in (store.setup, store.check, lambda: store.write([embedding("a")]), store.collections):
        with pytest.raises(StoreUnavailable, match=str(port)):
            await call()
    await store.close()


async def test_a_closed_store_is_unavailable(store: PointStore) -> None:
    await store.close()

    with pytest.raises(StoreUnavailable, match="closed"):
        await store.write([embedding("a")])


async def test_collections_whose_names_differ_in_case_or_signs_only_are_kept_apart(store: PointStore) -> None:
    names = ["a-b", "a.b", "a_b", "A_b", "a_2db", "x" * 63, "X" * 63]

    assert await store.write([embedding(name, collection=name) for name in names]) == len(names)
    assert list(await store.collections()) == sorted(names)
    for name in names:
        assert [hit.id for hit in await store.search(name, floats(1, 0), 9)] == [name]


@pytest.mark.parametrize(
    ("metric", "scores"), [("dot", {"b": 11, "a": 5, "zero": 0}), ("l2", {"a": -(5**0.5), "zero": -(10**0.5)})]
)
async def test_a_store_has_the_metric_of_its_url(url: str, metric: str, scores: dict[str, float]) -> None:
    store = open_vector(f"{url}&metric={metric}")
    await store.write([embedding("a", 2, -1), embedding("b", 5, -4), embedding("zero", 0, 0)])

    hits = await store.search("docs", floats(3, 1), len(scores))
    assert [hit.id for hit in hits] == list(scores)
    assert {hit.id: hit.score for hit in hits} == pytest.approx(scores)
    await store.close()


async def test_a_store_of_another_metric_is_told_so(url: str, store: PointStore) -> None:
    await store.write([embedding("a")])
    dot = open_vector(f"{url}&metric=dot")

    with pytest.raises(Unsupported, match="metric=cosine"):
        await dot.search("docs", floats(1, 0), 1)
    await dot.close()


async def test_objects_that_the_server_refuses_are_not_taken_for_stored(server: Weaviate, store: PointStore) -> None:
    server.refuse["bad"] = "no space for it"

    with pytest.raises(StoreRejected, match="all but 1 of 3 objects: no space"):
        await store.write([embedding("a"), embedding("bad"), embedding("b")])
    with pytest.raises(StoreRejected, match="none of 1"):
        await store.write([embedding("bad")])
    assert await store.write([embedding("a"), embedding("b")]) == 0


async def test_a_server_that_refuses_all_of_a_batch_is_unavailable(server: Weaviate, store: PointStore) -> None:
    server.refuse |= {"a": "read-only", "b": "read-only"}

    with pytest.raises(StoreUnavailable, match="none of 2"):
        await store.write([embedding("a"), embedding("b")])


async def test_a_large_batch_goes_in_several_messages(server: Weaviate, store: PointStore) -> None:
    assert await store.write([embedding(f"{n}") for n in range(2_100)]) == 2_100

    assert [len(each.objects) for each in server.messages if hasattr(each, "objects")] == [1_000, 1_000, 100]
    assert await store.count_vectors("docs") == 2_100


async def test_more_tombstones_than_one_removal_takes_are_removed(server: Weaviate, store: PointStore) -> None:
    await store.write([embedding("a")])
    await store.write([deletion(f"{n}") for n in range(11)])
    server.most = 4

    assert await store.tend("docs", 9) == {"tombstones": 11}
    assert len(server.classes[class_of("docs")].objects) == 1


async def test_more_than_one_answer_holds_is_refused(store: PointStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "MOST", 7)
    await store.write([embedding(f"{n}", 1, n) for n in range(8)])

    assert len(await store.search("docs", floats(1, 0), 7)) == 7
    with pytest.raises(Unsupported, match="top_k is 9"):
        await store.search("docs", floats(1, 0), 9)


async def test_a_filter_sees_a_number_that_another_writer_has_brought(store: PointStore, other: PointStore) -> None:
    await store.write([embedding("a", metadata={"old": 1})])
    assert [hit.id for hit in await store.search("docs", floats(1, 0), 9, {"new": {"$gt": 1}})] == []
    await other.write([embedding("b", metadata={"new": 2})])

    assert [hit.id for hit in await store.search("docs", floats(1, 0), 9, {"new": {"$gt": 1}})] == ["b"]
    assert await store.write([embedding("c", metadata={"new": 3})]) == 1


async def test_a_number_that_two_writers_bring_at_once_is_no_fault_of_a_record(
    server: Weaviate, store: PointStore
) -> None:
    await store.write([embedding("a")])

    def add(message: Any) -> None:
        if isinstance(message, dict):
            server.classes[class_of("docs")].schema["properties"].append(with_defaults(message))

    server.before = add
    assert await store.write([embedding("b", metadata={"n": 1})]) == 1
    assert [hit.id for hit in await store.search("docs", floats(1, 0), 9, {"n": {"$gte": 1}})] == ["b"]


async def test_a_collection_that_somebody_else_has_dropped_is_made_anew(store: PointStore, other: PointStore) -> None:
    await store.write([embedding("a")])
    await other.drop("docs")

    assert list(await store.search("docs", floats(1, 0), 5)) == []
    assert await store.write([embedding("b")]) == 1
    assert [each.key for each in await store.walk_vectors("docs", None, 9)] == ["b"]


async def test_a_collection_that_somebody_else_has_made_anew_is_taken_as_it_is_now(
    store: PointStore, other: PointStore
) -> None:
    await store.write([embedding("a", 1, 0)])
    await other.drop("docs")
    await other.write([embedding("a", 1, 0, 0)])

    with pytest.raises(DimensionMismatch, match="3 numbers"):
        await store.write([embedding("b", 1, 0)])
    assert await store.write([embedding("b", 1, 0, 0)]) == 1


async def test_a_collection_of_somebody_else_is_not_listed_and_refused(server: Weaviate, store: PointStore) -> None:
    await store.write([embedding("a")])
    server.classes[class_of("docs")].schema["description"] = "mine"

    assert list(await store.collections()) == []
    with pytest.raises(StoreRejected, match="not made by Penstock"):
        await store.write([embedding("b")])
