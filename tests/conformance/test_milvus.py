"""Milvus Lite passes the contract; what is its own beside it. No server of Milvus runs here."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import re
import signal
import socket
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import orjson
import pytest
from pymilvus import MilvusClient

from penstock.stores.errors import BadStoreURL, StoreRejected, StoreUnavailable, Unsupported
from penstock.stores.filters import Condition, parse
from penstock.stores.metrics import Metric, scorer
from penstock.stores.milvus import open_vector, rows
from penstock.stores.milvus.engine import MOST, MilvusEngine, _schema
from penstock.stores.milvus.filtering import to_text
from penstock.stores.milvus.homes import Lite, Server
from penstock.stores.milvus.names import collection_of, milvus_name
from penstock.stores.points.encoding import to_points
from penstock.stores.points.engine import Layout, Wanted
from penstock.stores.points.filtering import to_wanted
from penstock.stores.points.flat import vectors_of
from penstock.stores.points.store import PointStore
from penstock.stores.vector_contract import VectorStore
from penstock.testing.conformance.filters import Document, Filter, FilterConformance
from penstock.testing.conformance.vector_records import Row, embedding, floats
from penstock.testing.conformance.vectors import VectorStoreConformance
from penstock.wire.ids import new_id
from penstock.wire.records import Embedding
from tests.conformance.qdrant_reader import quick_folder

LAYOUT = Layout(2, "dot")


@pytest.fixture
def path() -> Iterator[Path]:
    with quick_folder() as folder:
        yield folder / "vectors.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[PointStore]:
    store = open_vector(f"milvus:///{path}")
    await store.setup()
    yield store
    await store.close()


class TestMilvusLite(VectorStoreConformance):
    @pytest.fixture(autouse=True)
    def keep(self, path: Path) -> None:
        self.path = path

    async def stored(self, store: VectorStore, collection: str) -> dict[str, Row]:
        client = MilvusClient(str(self.path))
        try:
            if not client.has_collection(milvus_name(collection)):
                return {}
            found = client.query(milvus_name(collection), filter="version >= 0", output_fields=["*"])
        finally:
            client.close()
        return dict(
            _row(each) for each in found if not each["hidden"] or "sent" in orjson.loads("".join(each["record"]))
        )


def _row(found: Mapping[str, Any]) -> tuple[str, Row]:
    record = orjson.loads("".join(found["record"]))
    (vector,) = vectors_of(found["penstock_cosine"], record.get("sent"), hidden=found["hidden"]).values()
    metadata = orjson.loads(record.get("metadata", "{}"))
    return found["key"], Row(np.frombuffer(vector, "<f4").tolist(), record.get("text"), metadata, found["version"])


@pytest.fixture(scope="module")
def documents() -> Iterator[MilvusClient]:
    with quick_folder() as folder:
        client = MilvusClient(str(folder / "filters.db"))
        client.create_collection("documents", schema=_schema(LAYOUT), consistency_level="Strong")
        index = client.prepare_index_params()
        index.add_index("penstock_dot", index_type="FLAT", metric_type="IP")
        client.create_index("documents", index, sync=False)
        client.load_collection("documents", _async=True)
        yield client
        client.close()


class TestMilvusFilters(FilterConformance):
    """Values are literals of the text, each quoted: Lite takes none beside it."""

    @pytest.fixture(autouse=True)
    def keep(self, documents: MilvusClient) -> None:
        self.client = documents

    def compiled(self, condition: Condition) -> tuple[str, dict[str, Any]]:
        text = to_text(cast("Wanted", to_wanted(condition)))
        return re.sub(r'"(?:[^"\\]|\\.)*"|-?\d+', "?", text), {}

    def results(self, documents: Sequence[Document], wheres: Sequence[Filter]) -> list[list[Any]]:
        records = [embedding(f"{n}", metadata=each) for n, each in enumerate(documents)]
        self.client.upsert("documents", [rows.to_row(each, LAYOUT) for each in to_points(records, LAYOUT, str)])
        try:
            return [self._holding(len(documents), where) for where in wheres]
        finally:
            self.client.delete("documents", filter="version >= 0")

    def _holding(self, count: int, where: Mapping[str, Any]) -> list[bool]:
        wanted = to_wanted(parse(where))
        text = "version >= 0" if wanted is None else to_text(wanted)
        found = {each["id"] for each in self.client.query("documents", filter=text, output_fields=["id"])}
        return [f"{n}" in found for n in range(count)]


@pytest.mark.parametrize(
    ("url", "home"),
    [
        ("milvus:///data/vectors.db", Lite(Path("data/vectors.db"))),
        ("milvus:////var/lib/x%20y.db?metric=l2", Lite(Path("/var/lib/x y.db"))),
        ("milvus://db", Server(host="db")),
        ("milvus://db:7000/?metric=dot&ssl=true", Server(host="db", port=7000, ssl=True)),
        ("milvus://db/?token=user%3Ak%26y", Server(host="db", ssl=True, token="user:k&y")),  # noqa: S106
        ("milvus://:key@[::1]:1/?ssl=false", Server(host="::1", port=1, token="key")),  # noqa: S106
    ],
)
def test_the_url_names_a_file_or_a_server(url: str, home: Lite | Server) -> None:
    engine = open_vector(url)._engine

    assert isinstance(engine, MilvusEngine)
    assert engine.home == home


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("milvus://", "needs a file"),
        ("milvus:///data/vectors", "ends in .db"),
        ("milvus://host/data.db", "needs a file"),
        ("milvus:///data.db?token=secret", "known are metric"),
        ("milvus://:secret@db:99999", "19530"),
        ("milvus://db?token=secret&ssl=yes", "true or false"),
        ("milvus://db?metric=manhattan&token=secret", "cosine, dot, l2"),
    ],
)
def test_a_url_that_names_neither_is_refused_without_its_token(url: str, remedy: str) -> None:
    with pytest.raises(BadStoreURL, match=remedy) as caught:
        open_vector(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", ["a", "a..b", "a__b", "a_2e", "A-", "0_.", "x" * 63])
def test_every_name_of_a_collection_has_another_one_in_milvus(name: str) -> None:
    assert collection_of(milvus_name(name)) == name
    assert collection_of(name) is None


async def test_a_file_whose_folder_is_not_there_is_unavailable_and_not_made(tmp_path: Path) -> None:
    store = open_vector(f"milvus:///{tmp_path}/missing/vectors.db")

    with pytest.raises(StoreUnavailable, match="set up"):
        await store.write([embedding("a")])
    assert list(tmp_path.iterdir()) == []


async def test_a_closed_store_is_unavailable(store: PointStore) -> None:
    await store.close()

    with pytest.raises(StoreUnavailable, match="closed"):
        await store.write([embedding("a")])


async def test_a_file_that_another_one_has_open_is_unavailable_until_it_is_closed(
    store: PointStore, path: Path
) -> None:
    await store.write([embedding("a")])
    second = open_vector(f"milvus:///{path}")

    with pytest.raises(StoreUnavailable, match="only one can"):
        await second.count_vectors("docs")
    await store.close()
    assert await second.count_vectors("docs") == 1
    await second.close()


@pytest.mark.parametrize("metric", get_args(Metric))
async def test_each_metric_has_the_scores_of_its_definition(path: Path, metric: Metric) -> None:
    store = open_vector(f"milvus:///{path}?metric={metric}")
    await store.setup()
    vectors = {f"{n}": floats(*row) for n, row in enumerate(np.random.default_rng(7).normal(size=(40, 5)).tolist())}
    vectors["zeros"] = floats(0, 0, 0, 0, 0)
    await store.write([embedding(key, 1)._replace(vector=each) for key, each in vectors.items()])
    query = floats(1, -2, 0.5, 0, 3)

    score = scorer(metric, query)
    expected = {key: value for key, each in vectors.items() if (value := score(each)) is not None}
    hits = await store.search("docs", query, 50, metric=metric)
    assert {hit.id: hit.score for hit in hits} == pytest.approx(expected, rel=1e-5, abs=1e-5)
    assert {each.id: each.vector for each in await store.vectors("docs", list(vectors))} == vectors
    await store.close()


async def test_a_collection_is_searched_by_the_metric_it_was_made_for_alone(store: PointStore, path: Path) -> None:
    await store.write([embedding("a", 3, 4)])
    await store.close()
    other = open_vector(f"milvus:///{path}?metric=dot")

    with pytest.raises(Unsupported, match=r"docs was made for cosine.*\?metric=cosine"):
        await other.search("docs", floats(1, 0), 1)
    assert await other.write([embedding("b", 1, 0)]) == 1
    await other.close()


async def test_a_text_longer_than_a_field_comes_back_as_it_was(store: PointStore) -> None:
    text = "日本語🙂" * 40_000
    await store.write([embedding("a", text=text)])

    (found,) = await store.vectors("docs", ["a"])
    assert found.text == text


async def test_metadata_of_more_fields_than_milvus_holds_is_refused(store: PointStore) -> None:
    with pytest.raises(StoreRejected, match="2048"):
        await store.write([embedding("a", metadata={f"f{n}": n for n in range(1_100)})])


async def test_a_server_that_is_away_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    store = open_vector(f"milvus://127.0.0.1:{port}/?token=s3cret&ssl=false")

    with pytest.raises(StoreUnavailable, match=str(port)) as caught:
        await store.setup()
    assert "s3cret" not in f"{caught.value!r} {caught.value.__cause__!r}"
    await store.close()


def _write_and_die(path: Path) -> None:
    async def write() -> None:
        store = open_vector(f"milvus:///{path}")
        await store.setup()
        for n in range(3):
            await store.write([embedding(f"{n}", 1, n, metadata={"n": n}), embedding("same", at_us=n)])
        os.kill(os.getpid(), signal.SIGKILL)

    asyncio.run(write())


async def test_what_was_written_is_there_after_its_writer_was_killed(path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_write_and_die, args=(path,))
    process.start()
    await asyncio.to_thread(process.join)

    assert process.exitcode == -signal.SIGKILL
    store = open_vector(f"milvus:///{path}")
    records = await store.walk_vectors("docs", None, 9)
    assert [(each.key, each.created_at_us) for each in records] == [("0", 1), ("1", 1), ("2", 1), ("same", 2)]
    assert [hit.id for hit in await store.search("docs", floats(0, 1), 1, {"n": {"$lt": 2}})] == ["1"]
    await store.close()


async def test_a_search_for_more_than_milvus_answers_with_says_so(store: PointStore) -> None:
    rows = np.random.default_rng(1).normal(size=(MOST + 10, 2)).astype("<f4")
    await store.write([Embedding(new_id(), 1, "docs", f"{n}", row.tobytes()) for n, row in enumerate(rows)])

    with pytest.raises(Unsupported, match=f"top_k is {MOST + 1}.*{MOST}"):
        await store.search("docs", floats(1, 0), MOST + 1)
    assert len(await store.search("docs", floats(1, 0), MOST)) == MOST
    assert await store.count_vectors("docs") == MOST + 10
