"""The store of a Qdrant server passes the contract, over a real socket; what is its own beside it."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import qdrant_edge
from qdrant_client import grpc
from structlog.testing import capture_logs

from penstock.stores.errors import BadStoreURL, DimensionMismatch, StoreRejected, StoreUnavailable
from penstock.stores.points.encoding import to_points
from penstock.stores.points.engine import Layout
from penstock.stores.points.store import PointStore
from penstock.stores.points.writing import REQUEST_BYTES
from penstock.stores.qdrant.edge_models import to_point
from penstock.stores.qdrant.server import Address, ServerEngine, open_vector
from penstock.stores.vector_contract import VectorStore
from penstock.testing.conformance.vector_records import Row, embedding, floats
from penstock.testing.conformance.vectors import VectorStoreConformance
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
async def store(port: int) -> AsyncIterator[PointStore]:
    store = open_vector(f"qdrant://127.0.0.1:{port}/")
    await store.setup()
    yield store
    await store.close()


@pytest.fixture
async def other(port: int) -> AsyncIterator[PointStore]:
    store = open_vector(f"qdrant://127.0.0.1:{port}/")
    yield store
    await store.close()


class TestQdrantServer(VectorStoreConformance):
    @pytest.fixture(autouse=True)
    def keep(self, answers: Answers) -> None:
        self.answers = answers

    async def stored(self, store: VectorStore, collection: str) -> dict[str, Row]:
        return read_collection(self.answers.folder / collection)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("qdrant://db", Address(host="db")),
        ("qdrant://db:7000/?metric=dot", Address(host="db", port=7000)),
        ("qdrant://db/?api_key=k%26y", Address(host="db", https=True, api_key="k&y")),
        ("qdrant://db/?api_key=key&https=false", Address(host="db", api_key="key")),
        ("qdrant://:key@db:1", Address(host="db", port=1, https=True, api_key="key")),
        ("qdrant://[::1]:1/?https=true", Address(host="::1", port=1, https=True)),
    ],
)
def test_the_url_names_a_server(url: str, address: Address) -> None:
    engine = open_vector(url)._engine

    assert isinstance(engine, ServerEngine)
    assert engine.address == address


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("qdrant://?api_key=secret", "needs a host"),
        ("qdrant://db/docs?api_key=secret", "no path"),
        ("qdrant://:secret@db:99999", "6334"),
        ("qdrant://db?api_key=secret&https=yes", "true or false"),
        ("qdrant://db?key=secret", "known are api_key"),
        ("qdrant://db?metric=manhattan&api_key=secret", "cosine, dot, l2"),
    ],
)
def test_a_url_that_names_no_server_is_refused_without_its_key(url: str, remedy: str) -> None:
    with pytest.raises(BadStoreURL, match=remedy) as caught:
        open_vector(url)
    assert "secret" not in str(caught.value)


async def test_a_key_opens_the_server_and_is_told_nowhere(answers: Answers, port: int) -> None:
    answers.api_key = "s3cret"
    right = open_vector(f"qdrant://127.0.0.1:{port}/?api_key=s3cret&https=false")
    wrong = open_vector(f"qdrant://127.0.0.1:{port}/?api_key=other-s3cret&https=false")

    with capture_logs() as logs:
        await right.setup()
        assert await right.write([embedding("a")]) == 1
        with pytest.raises(StoreUnavailable, match="api_key") as caught:
            await wrong.write([embedding("a")])
    assert "s3cret" not in f"{caught.value!r} {caught.value.__cause__!r} {logs} {right._engine} {vars(right._engine)}"
    await right.close()
    await wrong.close()


async def test_a_server_that_is_away_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    store = open_vector(f"qdrant://127.0.0.1:{port}/")

    for call in (store.setup, store.check, lambda: store.write([embedding("a")]), store.collections):
        with pytest.raises(StoreUnavailable, match=str(port)):
            await call()
    await store.close()


async def test_a_closed_store_is_unavailable(store: PointStore) -> None:
    await store.close()

    with pytest.raises(StoreUnavailable, match="closed"):
        await store.write([embedding("a")])
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.check()


async def test_an_old_server_is_warned_of(answers: Answers, store: PointStore) -> None:
    answers.version = "1.15.4"

    with capture_logs() as logs:
        await store.setup()
    assert [(each["event"], each["version"]) for each in logs] == [("qdrant_without_conditions", "1.15.4")]


async def test_an_older_write_that_comes_between_look_and_write_of_a_newer_one_loses(
    answers: Answers, store: PointStore, other: PointStore
) -> None:
    await store.write([embedding("there")])
    _meanwhile(answers, embedding("a", at_us=5, text="newer"))

    assert await other.write([embedding("a", at_us=3, text="older"), embedding("b", at_us=3)]) == 2
    rows = read_collection(answers.folder / "docs")
    assert {key: (row.version, row.text) for key, row in rows.items()} == {
        "there": (1, None),
        "a": (5, "newer"),
        "b": (3, None),
    }


async def test_what_a_condition_has_kept_out_though_it_was_newer_goes_again(
    answers: Answers, store: PointStore
) -> None:
    await store.write([embedding("there")])
    _meanwhile(answers, embedding("a", at_us=5, text="between"))

    # The condition of the batch is "older than 3", its oldest record.
    assert await store.write([embedding("a", at_us=7, text="newest"), embedding("b", at_us=3)]) == 2
    rows = read_collection(answers.folder / "docs")
    assert (rows["a"].version, rows["a"].text, rows["b"].version) == (7, "newest", 3)
    assert len([each for each in answers.requests if isinstance(each, grpc.UpsertPoints)]) == 3


def _meanwhile(answers: Answers, record: Any) -> None:
    """Another writer's *record* gets in once, right before the next upsert."""

    def put(_: Any) -> None:
        answers.before_upsert = lambda _: None
        points = [to_point(each) for each in to_points([record], Layout(2, "cosine"))]
        answers.shards["docs"].update(qdrant_edge.UpdateOperation.upsert_points(points))

    answers.before_upsert = put


async def test_a_batch_of_updates_of_its_own_time_goes_in_groups_and_is_stored_whole(
    answers: Answers, store: PointStore
) -> None:
    await store.write([embedding("a", at_us=10), embedding("b", at_us=20)])

    assert await store.write([embedding("a", at_us=15), embedding("b", at_us=25), embedding("c", at_us=12)]) == 3
    rows = read_collection(answers.folder / "docs")
    assert {key: row.version for key, row in rows.items()} == {"a": 15, "b": 25, "c": 12}


async def test_times_that_qdrant_cannot_compare_exactly_still_replace_each_other(
    answers: Answers, store: PointStore
) -> None:
    year_9000 = 221_846_000_000_000_001
    await store.write([embedding("a", at_us=year_9000)])

    assert await store.write([embedding("a", at_us=year_9000 + 1)]) == 1
    assert await store.write([embedding("a", at_us=year_9000)]) == 0
    assert read_collection(answers.folder / "docs")["a"].version == year_9000 + 1


async def test_a_large_batch_goes_in_several_requests(answers: Answers, store: PointStore) -> None:
    dimension = 16_384
    count = REQUEST_BYTES // (4 * dimension) + 1

    vector = floats(*[1.0] * dimension)
    assert await store.write([embedding(f"{n}")._replace(vector=vector) for n in range(count)]) == count
    upserts = [len(each.points) for each in answers.requests if isinstance(each, grpc.UpsertPoints)]
    assert upserts == [count - 1, 1]
    assert await store.count_vectors("docs") == count


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

    assert [hit.id for hit in await store.search("docs", floats(1, 0, 0), 5)] == ["a"]
    with pytest.raises(DimensionMismatch, match="3 numbers"):
        await store.write([embedding("b", 1, 0)])
    with pytest.raises(DimensionMismatch, match="3 numbers"):
        await store.search("docs", floats(1, 0), 5)
    assert await store.write([embedding("b", 1, 0, 0)]) == 1


async def test_a_collection_of_somebody_else_is_not_listed_and_refused(answers: Answers, store: PointStore) -> None:
    named = grpc.VectorParamsMap(map={"text": grpc.VectorParams(size=2, distance=grpc.Distance.Cosine)})
    request = grpc.CreateCollection(collection_name="docs", vectors_config=grpc.VectorsConfig(params_map=named))
    await ServerEngine._collections.fget(store._engine).Create(request)  # type: ignore[attr-defined]

    assert list(await store.collections()) == []
    with pytest.raises(StoreRejected, match="not made by Penstock"):
        await store.write([embedding("a")])
    with pytest.raises(StoreRejected, match="not made by Penstock"):
        await store.search("docs", floats(1, 0), 1)
    assert len(answers.shards) == 1


async def test_a_collection_whose_maker_died_has_its_index_made_by_the_next(
    answers: Answers, store: PointStore, other: PointStore
) -> None:
    await store.write([embedding("a")])
    answers.shards["docs"].update(qdrant_edge.UpdateOperation.delete_field_index("terms"))

    await other.write([embedding("b")])
    assert "terms" in answers.shards["docs"].info().payload_schema
