"""The store of Pinecone passes the contract over a real socket, with its own client; what is its own beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs

from penstock.stores import registry
from penstock.stores.errors import BadStoreURL, DimensionMismatch, StoreRejected, StoreUnavailable, Unsupported
from penstock.stores.pinecone import engine as engines
from penstock.stores.pinecone import indexes, vectors
from penstock.stores.pinecone.address import Address, parse
from penstock.stores.pinecone.store import open_vector
from penstock.stores.points.store import PointStore
from penstock.stores.vector_contract import VectorStore
from penstock.testing.conformance.vector_records import Row, deletion, embedding, floats
from penstock.testing.conformance.vectors import VectorStoreConformance
from tests.conformance.pinecone_server import Pinecone, serving


@pytest.fixture
async def project() -> AsyncIterator[Pinecone]:
    project = Pinecone()
    async with serving(project):
        yield project


def url_of(project: Pinecone, **options: str) -> str:
    options = {"api_key": project.api_key, "host": f"http://127.0.0.1:{project.port}", **options}
    return "pinecone://memories?" + "&".join(f"{name}={value}" for name, value in options.items())


@pytest.fixture
async def store(project: Pinecone) -> AsyncIterator[PointStore]:
    store = open_vector(url_of(project))
    await store.setup()
    yield store
    await store.close()


@pytest.fixture
async def other(project: Pinecone) -> AsyncIterator[PointStore]:
    store = open_vector(url_of(project))
    yield store
    await store.close()


def read(project: Pinecone, namespace: str) -> dict[str, Row]:
    """What Pinecone has taken, tombstones left out."""
    found = [
        each
        for index in project.indexes.values()
        if namespace in index.namespaces
        for each in index.namespaces[namespace].taken.values()
        if "!deleted" not in each["metadata"]["terms"]
    ]
    rows = {each["metadata"]["key"]: _row(each["values"].tolist(), each["metadata"]) for each in found}
    assert len(rows) == len(found), "a key is stored twice"
    return rows


def _row(values: list[float], metadata: dict[str, Any]) -> Row:
    vector = [0.0] * len(values) if "zero" in metadata else values
    return Row(vector, metadata.get("text"), orjson.loads(metadata.get("metadata", "{}")), int(metadata["at"]))


class TestPinecone(VectorStoreConformance):
    @pytest.fixture(autouse=True)
    def keep(self, project: Pinecone) -> None:
        self.project = project

    async def stored(self, store: VectorStore, collection: str) -> dict[str, Row]:
        return read(self.project, collection)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("pinecone://memories?api_key=k%26y", Address(index="memories", api_key="k&y")),
        ("pinecone://m-1/?metric=l2&namespace=team.", Address(index="m-1", metric="l2", namespace="team.")),
        ("pinecone://m?cloud=gcp&region=us-central1", Address(index="m", cloud="gcp", region="us-central1")),
        ("pinecone://m?host=http://localhost:5080", Address(index="m", host="http://localhost:5080")),
    ],
)
def test_the_url_names_indexes(url: str, address: Address) -> None:
    assert parse(url) == address
    assert isinstance(registry.vector_store(url), PointStore)


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("pinecone://?api_key=secret", "names no index"),
        ("pinecone://Memories?api_key=secret", "a-z 0-9"),
        (f"pinecone://{'m' * 32}?api_key=secret", "1 to 31"),
        ("pinecone://secret@memories", "options only"),
        ("pinecone://memories/docs?api_key=secret", "options only"),
        ("pinecone://memories?key=secret", "known are api_key"),
        ("pinecone://memories?api_key=secret&namespace=a/b", "namespace"),
        ("pinecone://memories?api_key=secret&metric=manhattan", "cosine, dot, l2"),
    ],
)
def test_a_url_that_names_no_index_is_refused_without_its_key(url: str, remedy: str) -> None:
    with pytest.raises(BadStoreURL, match=remedy) as caught:
        open_vector(url)
    assert "secret" not in str(caught.value)


async def test_a_wrong_key_is_told_nowhere(project: Pinecone, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    store = open_vector(url_of(project, api_key="s3cret"))

    with capture_logs() as logs, pytest.raises(StoreUnavailable, match="api_key") as caught:
        await store.write([embedding("a")])
    told = f"{caught.value!r} {caught.value.__cause__!r} {logs} {caplog.text} {vars(store._engine)}"
    assert "s3cret" not in told
    await store.close()


async def test_no_key_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PINECONE_API_KEY", raising=False)

    with pytest.raises(StoreUnavailable, match="api_key in PENSTOCK_VECTOR_URL"):
        await open_vector("pinecone://memories").check()


async def test_a_closed_store_is_unavailable(store: PointStore) -> None:
    await store.close()

    with pytest.raises(StoreUnavailable, match="closed"):
        await store.write([embedding("a")])


async def test_collections_of_one_dimension_share_an_index_and_prefixes_keep_stores_apart(project: Pinecone) -> None:
    one, two = (open_vector(url_of(project, namespace=prefix)) for prefix in ("one.", "two."))
    batch = [embedding("a", 1, 0), embedding("a", 1, 1, collection="other"), embedding("a", 1, collection="thin")]

    assert await one.write(batch) == 3
    assert await two.write(batch[:1]) == 1
    assert sorted(project.indexes) == ["memories-1-cosine", "memories-2-cosine"]
    assert sorted(project.indexes["memories-2-cosine"].namespaces) == ["one.docs", "one.other", "two.docs"]
    assert list(await one.collections()) == ["docs", "other", "thin"]
    assert list(await two.collections()) == ["docs"]
    await one.close()
    await two.close()


@pytest.mark.parametrize(("metric", "scores"), [("dot", {"b": 11, "a": 5}), ("l2", {"a": -(5**0.5), "b": -(29**0.5)})])
async def test_another_metric_has_indexes_of_its_own(project: Pinecone, metric: str, scores: dict[str, float]) -> None:
    store = open_vector(url_of(project, metric=metric))
    await store.write([embedding("a", 2, -1), embedding("b", 5, -4)])

    hits = await store.search("docs", floats(3, 1), 5)
    assert list(project.indexes) == [f"memories-2-{metric}"]
    assert [hit.id for hit in hits] == list(scores)
    assert {hit.id: hit.score for hit in hits} == pytest.approx(scores)
    await store.close()


async def test_zeros_are_refused_where_they_would_be_near_something(project: Pinecone) -> None:
    store = open_vector(url_of(project, metric="dot"))

    with pytest.raises(StoreRejected, match="zeros"):
        await store.write([embedding("a", 0, 0)])
    await store.close()


async def test_a_write_ends_when_a_query_shows_it(project: Pinecone, store: PointStore, other: PointStore) -> None:
    await store.write([embedding("a", at_us=5)])

    namespace = project.indexes["memories-2-cosine"].namespaces["docs"]
    assert namespace.shown_lsn == namespace.lsn
    assert await other.write([embedding("a", at_us=4)]) == 0


async def test_what_pinecone_does_not_come_to_show_is_unavailable(
    project: Pinecone, store: PointStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.write([embedding("a")])
    monkeypatch.setattr(engines, "SHOWN_WITHIN_S", 0.0)

    with pytest.raises(StoreUnavailable, match="not shown"):
        await store.write([embedding("b")])
    monkeypatch.undo()
    assert await store.write([embedding("b")]) == 0
    assert sorted(read(project, "docs")) == ["a", "b"]


async def test_a_batch_goes_in_requests_of_a_size_that_pinecone_takes(project: Pinecone, store: PointStore) -> None:
    batch = [embedding(f"{n}", 1, n / 7, text="x" * 3_000) for n in range(2_500)]

    assert await store.write(batch) == 2_500
    sizes = [len(each.json()["vectors"]) for each in project.requests if each.path.endswith("/upsert")]
    assert sum(sizes) == 2_500
    assert max(sizes) <= 1_000
    assert len(sizes) > 3
    assert await store.count_vectors("docs") == 2_500


async def test_a_record_that_is_too_large_costs_only_itself(project: Pinecone, store: PointStore) -> None:
    large = embedding("large", text="x" * 41_000)

    with pytest.raises(StoreRejected, match=r"40,960.*documents"):
        await store.write([embedding("a"), large])
    assert read(project, "docs") == {}
    assert await store.write([embedding("a")]) == 1


async def test_a_key_that_is_no_id_of_pinecones_is_kept_and_walked(store: PointStore) -> None:
    keys = ["🙂" * 100, "a" * 512, "a" * 513, "%%"]
    await store.write([embedding(key, 1, n) for n, key in enumerate(keys)])

    assert [hit.id for hit in await store.search("docs", floats(1, 0), 9)] == keys
    assert [each.key for each in await store.walk_vectors("docs", None, 9)] == sorted(keys)
    assert all(len(vectors.id_of(key)) <= 512 for key in keys)


async def test_more_tombstones_than_a_query_gives_are_counted(
    project: Pinecone, store: PointStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "MAX_TOP_K", 7)
    monkeypatch.setattr(engines, "FETCHED_AT_ONCE", 3)
    await store.write([embedding("a")])
    await store.write([deletion(f"{n}") for n in range(11)])

    shape = await store.shape("docs")
    assert shape is not None
    assert (shape.vectors, shape.tombstones) == (1, 11)


async def test_more_than_pinecone_gives_is_refused_and_as_much_is_not(
    store: PointStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "MAX_TOP_K", 7)
    await store.write([embedding(f"{n}", 1, n) for n in range(8)])

    assert len(await store.search("docs", floats(1, 0), 7)) == 7
    with pytest.raises(Unsupported, match="top_k is 9"):
        await store.search("docs", floats(1, 0), 9)
    assert len(await store.search("docs", floats(1, 0), 9, {"n": {"$exists": True}})) == 0


async def test_a_collection_that_somebody_else_has_dropped_is_made_anew(store: PointStore, other: PointStore) -> None:
    await store.write([embedding("a")])
    await other.drop("docs")

    assert list(await store.search("docs", floats(1, 0), 5)) == []
    assert await store.write([embedding("b")]) == 1
    assert [each.key for each in await store.walk_vectors("docs", None, 9)] == ["b"]


async def test_a_collection_that_somebody_else_has_made_anew_is_taken_as_it_is_now(
    project: Pinecone, store: PointStore, other: PointStore
) -> None:
    await store.write([embedding("a", 1, 0)])
    await other.drop("docs")
    await other.write([embedding("a", 1, 0, 0)])

    with pytest.raises(DimensionMismatch, match="3 numbers"):
        await store.write([embedding("b", 1, 0)])
    assert await store.write([embedding("b", 1, 0, 0)]) == 1
    assert sorted(read(project, "docs")) == ["a", "b"]


async def test_an_index_that_somebody_else_is_making_is_waited_for(
    project: Pinecone, store: PointStore, other: PointStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexes, "_LOOK_S", 0.0)
    await other.write([embedding("a", collection="other")])
    made = project.indexes.copy()
    project.indexes.clear()
    await store.check()
    project.before = lambda request: project.indexes.update(made) if request.method == "POST" else None

    assert await store.write([embedding("a")]) == 1
