"""Chroma in this process passes the contract; what is its own beside it."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from penstock.stores.chroma import open_vector
from penstock.stores.chroma.engine import ChromaEngine
from penstock.stores.chroma.homes import Folder, Server
from penstock.stores.errors import BadStoreURL, StoreRejected, StoreUnavailable, Unsupported
from penstock.stores.metrics import Metric, scorer
from penstock.stores.points.store import PointStore
from penstock.stores.vector_contract import VectorStore
from penstock.testing.conformance.vector_records import Row, deletion, embedding, floats
from penstock.testing.conformance.vectors import VectorStoreConformance
from tests.conformance.chroma_reader import read_collection
from tests.conformance.qdrant_reader import quick_folder


@pytest.fixture
def folder() -> Iterator[Path]:
    with quick_folder() as folder:
        yield folder / "vectors"


@pytest.fixture
async def store(folder: Path) -> AsyncIterator[PointStore]:
    store = open_vector(f"chroma:///{folder}")
    await store.setup()
    yield store
    await store.close()


class TestChroma(VectorStoreConformance):
    @pytest.fixture(autouse=True)
    def keep(self, folder: Path) -> None:
        self.folder = folder

    async def stored(self, store: VectorStore, collection: str) -> dict[str, Row]:
        return read_collection(self.folder, collection)


@pytest.mark.parametrize(
    ("url", "home"),
    [
        ("chroma:///data/vectors", Folder(Path("data/vectors"))),
        ("chroma:////var/lib/x%20y?metric=l2", Folder(Path("/var/lib/x y"))),
        ("chroma://db", Server(host="db")),
        ("chroma://db:7000/?metric=dot&ssl=true", Server(host="db", port=7000, ssl=True)),
        ("chroma://db/?token=k%26y", Server(host="db", ssl=True, token="k&y")),  # noqa: S106
        ("chroma://:key@[::1]:1/?ssl=false", Server(host="::1", port=1, token="key")),  # noqa: S106
    ],
)
def test_the_url_names_a_folder_or_a_server(url: str, home: Folder | Server) -> None:
    engine = open_vector(url)._engine

    assert isinstance(engine, ChromaEngine)
    assert engine.home == home


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("chroma://", "needs a folder or a host"),
        ("chroma://host/data", "needs a folder or a host"),
        ("chroma:///data?token=secret", "known are metric"),
        ("chroma://:secret@db:99999", "8000"),
        ("chroma://db?token=secret&ssl=yes", "true or false"),
        ("chroma://db?key=secret", "known are metric, ssl, token"),
        ("chroma://db?metric=manhattan&token=secret", "cosine, dot, l2"),
    ],
)
def test_a_url_that_names_neither_is_refused_without_its_token(url: str, remedy: str) -> None:
    with pytest.raises(BadStoreURL, match=remedy) as caught:
        open_vector(url)
    assert "secret" not in str(caught.value)


async def test_a_folder_that_was_never_set_up_is_unavailable_and_not_made(folder: Path) -> None:
    store = open_vector(f"chroma:///{folder}")

    with pytest.raises(StoreUnavailable, match="set up"):
        await store.write([embedding("a")])
    with pytest.raises(StoreUnavailable, match="set up"):
        await store.check()
    assert not folder.exists()


async def test_a_closed_store_is_unavailable(store: PointStore) -> None:
    await store.close()

    with pytest.raises(StoreUnavailable, match="closed"):
        await store.write([embedding("a")])


async def test_a_folder_that_another_one_has_open_is_unavailable_until_it_is_closed(
    store: PointStore, folder: Path
) -> None:
    await store.write([embedding("a")])
    second = open_vector(f"chroma:///{folder}")

    with pytest.raises(StoreUnavailable, match="only one can"):
        await second.count_vectors("docs")
    await store.close()
    assert await second.count_vectors("docs") == 1
    await second.close()


@pytest.mark.parametrize("metric", get_args(Metric))
async def test_each_metric_has_the_scores_of_its_definition(folder: Path, metric: Metric) -> None:
    store = open_vector(f"chroma:///{folder}?metric={metric}")
    await store.setup()
    vectors = {f"{n}": floats(*row) for n, row in enumerate(np.random.default_rng(7).normal(size=(40, 5)).tolist())}
    vectors["zeros"] = floats(0, 0, 0, 0, 0)
    await store.write([embedding(key, 1)._replace(vector=each) for key, each in vectors.items()])
    query = floats(1, -2, 0.5, 0, 3)

    score = scorer(metric, query)
    expected = {key: value for key, each in vectors.items() if (value := score(each)) is not None}
    hits = await store.search("docs", query, 50, metric=metric)
    assert {hit.id: hit.score for hit in hits} == pytest.approx(expected, rel=1e-5, abs=1e-5)
    assert [hit.id for hit in hits] == sorted(expected, key=lambda key: -expected[key])
    assert {each.id: each.vector for each in await store.vectors("docs", list(vectors))} == vectors
    await store.close()


async def test_a_collection_is_searched_by_the_metric_it_was_made_for_alone(store: PointStore, folder: Path) -> None:
    await store.write([embedding("a", 3, 4)])
    await store.close()
    other = open_vector(f"chroma:///{folder}?metric=dot")

    with pytest.raises(Unsupported, match=r"docs was made for cosine.*\?metric=cosine"):
        await other.search("docs", floats(1, 0), 1)
    assert await other.write([embedding("b", 1, 0)]) == 1
    assert [each.vector for each in await other.vectors("docs", ["a"])] == [floats(3, 4)]
    await other.close()


async def test_nothing_of_what_stood_there_is_left_behind_a_replacement_or_a_deletion(
    store: PointStore, folder: Path
) -> None:
    engine = store._engine
    assert isinstance(engine, ChromaEngine)
    for key in "ab":
        await store.write([embedding(key, 3, 4, text="secret", metadata={"secret": 1, "deep": {"secret": 2**60 + 1}})])
    await store.write([embedding("a", 1, 0, at_us=2), deletion("b")])

    found = engine._open("docs").rows.get(include=["metadatas", "embeddings"])
    assert "secret" not in str(found)
    assert [sorted(each) for each in found["metadatas"]] == [["id", "version"], ["hidden", "id", "terms", "version"]]
    assert [round(each, 2) for each in found["embeddings"][1].tolist()] != [0.6, 0.8]


async def test_a_search_looks_further_than_what_is_not_to_be_found(store: PointStore) -> None:
    await store.write([embedding(f"{n}", 1, 0, n % 7) for n in range(200)])
    await store.write([deletion(f"{n}") for n in range(197)])

    assert [hit.id for hit in await store.search("docs", floats(1, 0, 0), 3)] == ["197", "198", "199"]


async def test_a_collection_of_somebody_else_is_left_alone(store: PointStore) -> None:
    engine = store._engine
    assert isinstance(engine, ChromaEngine)
    engine._connection.client().create_collection("penstock-docs-v", embedding_function=None)

    with pytest.raises(StoreRejected, match="not made by Penstock"):
        await store.write([embedding("a")])
    assert list(await store.collections()) == []


@pytest.mark.parametrize("name", ["a", "a..b", "612e2e62", "x" * 63, "A-", "0_."])
async def test_every_name_of_a_collection_is_one_in_chroma(store: PointStore, name: str) -> None:
    await store.write([embedding("a", collection=name)])

    assert list(await store.collections()) == [name]
    assert await store.drop(name)


async def test_a_dropped_collection_leaves_no_vectors_on_disk(store: PointStore, folder: Path) -> None:
    for name in ("docs", "other"):
        await store.write([embedding(f"{n}", 1, n, collection=name) for n in range(1_200)])
    assert len(list(folder.glob("*/data_level0.bin"))) == 2

    await store.drop("docs")
    assert len(list(folder.glob("*/data_level0.bin"))) == 1
    assert len(await store.search("other", floats(1, 2), 5)) == 5


def _write_and_die(folder: Path) -> None:
    async def write() -> None:
        store = open_vector(f"chroma:///{folder}")
        await store.setup()
        for n in range(3):
            await store.write([embedding(f"{n}", 1, n, metadata={"n": n}), embedding("same", at_us=n)])
        os.kill(os.getpid(), signal.SIGKILL)

    asyncio.run(write())


async def test_what_was_written_is_there_after_its_writer_was_killed(folder: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_write_and_die, args=(folder,))
    process.start()
    await asyncio.to_thread(process.join)

    assert process.exitcode == -signal.SIGKILL
    store = open_vector(f"chroma:///{folder}")
    records = await store.walk_vectors("docs", None, 9)
    assert [(each.key, each.created_at_us) for each in records] == [("0", 1), ("1", 1), ("2", 1), ("same", 2)]
    assert [hit.id for hit in await store.search("docs", floats(0, 1), 1, {"n": {"$lt": 2}})] == ["1"]
    await store.close()
