"""Qdrant's engine in this process passes the contract; what is its own beside it."""

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
import qdrant_edge

from penstock.stores.errors import BadStoreURL, StoreRejected, StoreUnavailable, Unsupported
from penstock.stores.metrics import Metric, scorer
from penstock.stores.points import engine, walking
from penstock.stores.points.store import PointStore
from penstock.stores.qdrant import edge, edge_shards
from penstock.stores.qdrant.edge import EdgeEngine, open_vector
from penstock.stores.qdrant.edge_shards import Busy, Shard
from penstock.stores.vector_contract import VectorStore
from penstock.testing.conformance.vector_records import Row, embedding, floats
from penstock.testing.conformance.vectors import VectorStoreConformance
from penstock.wire.ids import new_id
from penstock.wire.records import Embedding, EmbeddingDeletion
from tests.conformance.qdrant_reader import quick_folder, read_collection, read_points


@pytest.fixture
def folder() -> Iterator[Path]:
    with quick_folder() as folder:
        yield folder / "vectors"


@pytest.fixture
async def store(folder: Path) -> AsyncIterator[PointStore]:
    store = open_vector(f"qdrant-edge:///{folder}")
    await store.setup()
    yield store
    await store.close()


class TestQdrantEdge(VectorStoreConformance):
    async def stored(self, store: VectorStore, collection: str) -> dict[str, Row]:
        assert isinstance(store, PointStore)
        assert isinstance(store._engine, EdgeEngine)
        return read_collection(store._engine.folder / collection)


@pytest.mark.parametrize(
    ("url", "folder"),
    [("qdrant-edge:///data/vectors", "data/vectors"), ("qdrant-edge:////var/lib/x%20y?metric=l2", "/var/lib/x y")],
)
def test_the_url_names_a_folder(url: str, folder: str) -> None:
    opened = open_vector(url)._engine

    assert isinstance(opened, EdgeEngine)
    assert opened.folder == Path(folder)


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("qdrant-edge://", "qdrant-edge:///relative"),
        ("qdrant-edge://host/data", "qdrant-edge:///relative"),
        ("qdrant-edge:///data?api_key=k", "known are metric"),
    ],
)
def test_a_url_without_a_folder_is_refused_with_the_remedy(url: str, remedy: str) -> None:
    with pytest.raises(BadStoreURL, match=remedy):
        open_vector(url)


async def test_a_folder_that_was_never_set_up_is_unavailable_and_not_made(tmp_path: Path) -> None:
    store = PointStore(EdgeEngine(tmp_path / "missing"))

    with pytest.raises(StoreUnavailable, match="set up"):
        await store.write([embedding("a")])
    with pytest.raises(StoreUnavailable, match="missing"):
        await store.check()
    assert not (tmp_path / "missing").exists()


async def test_a_closed_store_is_unavailable(store: PointStore) -> None:
    await store.close()

    with pytest.raises(StoreUnavailable, match="closed"):
        await store.write([embedding("a")])


async def test_two_stores_of_one_folder_take_turns(store: PointStore, folder: Path) -> None:
    second = PointStore(EdgeEngine(folder))

    async def work(of: PointStore, name: str) -> None:
        for n in range(6):
            await of.write([embedding(f"{name}{n}"), embedding("same", 1, n, at_us=n, text=name)])
            assert await of.search("docs", floats(1, 0), 20)

    async with asyncio.TaskGroup() as group:
        for of, name in ((store, "a"), (store, "b"), (second, "c")):
            group.create_task(work(of, name))

    rows = read_collection(folder / "docs")
    assert sorted(rows) == sorted([f"{name}{n}" for name in "abc" for n in range(6)] + ["same"])
    assert (rows["same"].version, rows["same"].vector) == (5, [1, 5])
    await second.close()


async def test_who_needs_a_shard_no_more_leaves_it_to_others(
    store: PointStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge, "IDLE_S", 0.01)
    second = PointStore(EdgeEngine(folder))
    await store.write([embedding("a")])

    assert await second.write([embedding("a", at_us=2)]) == 1
    assert await second.drop("docs")
    assert await store.count_vectors("docs") == 0
    assert await store.write([embedding("b", 1, 2, 3)]) == 1
    assert [each.key for each in await second.walk_vectors("docs", None, 9)] == ["b"]
    await second.close()


async def test_a_shard_that_is_used_at_length_is_used_beside_it_though_another_process_waits(
    store: PointStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge_shards, "KEEP_S", 0.0)
    await store.write([embedding("a")])
    await store.close()
    mine, other = Shard(folder / "docs"), Shard(folder / "docs")

    with other.wanted(), mine.used(at_length=True) as handle:
        with mine.used() as beside:
            assert beside is handle
        with pytest.raises(Busy), other.used():
            pass
    with other.used() as handle:
        assert handle.info().points_count == 1
    with pytest.raises(Busy), mine.used():
        pass
    mine.forget()
    other.forget()


async def test_a_shard_that_is_not_handed_over_in_time_is_unavailable(store: PointStore, folder: Path) -> None:
    await store.write([embedding("a")])
    await store.close()
    impatient = PointStore(EdgeEngine(folder, patience_s=0.05))
    held = qdrant_edge.EdgeShard.load(str(folder / "docs"))

    with pytest.raises(StoreUnavailable, match=r"another process.* 0.05 s.*fuser"):
        await impatient.count_vectors("docs")
    held.close()
    assert await impatient.count_vectors("docs") == 1
    await impatient.close()


async def test_a_folder_of_somebody_else_is_left_alone(store: PointStore, folder: Path) -> None:
    (folder / "docs").mkdir()
    (folder / "docs" / "edge_config.json").write_text('{"vectors": {"": {"size": 2, "distance": "Cosine"}}}')

    with pytest.raises(StoreRejected, match="not made by Penstock"):
        await store.write([embedding("a")])
    assert list(await store.collections()) == []


async def test_what_a_crash_left_half_made_or_half_removed_is_gone_after_setup(store: PointStore, folder: Path) -> None:
    await store.write([embedding("a")])
    (folder / ".new-1" / "segments").mkdir(parents=True)
    os.utime(folder / ".new-1", (0, 0))
    (folder / ".new-2").mkdir()  # somebody is making it
    (folder / ".gone-1" / "segments").mkdir(parents=True)
    assert list(await store.collections()) == ["docs"]

    await store.setup()
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == [".new-2", "docs"]


def _write_and_die(folder: Path) -> None:
    async def write() -> None:
        store = PointStore(EdgeEngine(folder))
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
    store = PointStore(EdgeEngine(folder))
    records = await store.walk_vectors("docs", None, 9)
    assert [(each.key, each.created_at_us) for each in records] == [("0", 1), ("1", 1), ("2", 1), ("same", 2)]
    assert [hit.id for hit in await store.search("docs", floats(0, 1), 1, {"n": {"$lt": 2}})] == ["1"]
    await store.close()


@pytest.mark.parametrize("metric", get_args(Metric))
async def test_each_metric_has_the_scores_of_its_definition(folder: Path, metric: Metric) -> None:
    store = open_vector(f"qdrant-edge:///{folder}?metric={metric}")
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
    assert ("zeros" in expected) == (metric != "cosine")
    await store.close()


async def test_a_collection_is_searched_by_the_metric_it_was_made_for_alone(store: PointStore, folder: Path) -> None:
    await store.write([embedding("a", 3, 4)])
    other = PointStore(EdgeEngine(folder), "dot")

    with pytest.raises(Unsupported, match=r"docs was made for cosine.*\?metric=cosine"):
        await other.search("docs", floats(1, 0), 1)
    assert await other.write([embedding("b", 1, 0)]) == 1
    assert [each.vector for each in await other.vectors("docs", ["a"])] == [floats(3, 4)]
    await other.close()


async def test_a_vector_of_length_one_is_kept_once_any_other_with_its_direction(
    store: PointStore, folder: Path
) -> None:
    deletion = EmbeddingDeletion(new_id(), 2, "docs", "gone")
    await store.write([embedding("unit", 0.6, 0.8), embedding("longer", 3, 4), embedding("zeros", 0, 0), deletion])

    points = read_points(folder / "docs")
    assert {each.payload["key"]: sorted(each.vector) for each in points} == {
        "unit": ["penstock_unit"],
        "longer": ["penstock", "penstock_unit"],
        "zeros": ["penstock"],
        "gone": [],
    }


async def test_upkeep_builds_the_index_when_a_collection_has_outgrown_a_look_at_every_vector(
    store: PointStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "EXACT_BELOW", 2_000)
    monkeypatch.setattr(EdgeEngine, "exact_below", 2_000)
    rows = np.random.default_rng(1).normal(size=(6_000, 8)).astype("<f4")
    await store.write(
        [
            Embedding(new_id(), 1, "docs", f"{n}", row.tobytes(), None, b'{"n":%d,"half":%d}' % (n, n % 2))
            for n, row in enumerate(rows)
        ]
    )
    exact = await store.search("docs", rows[5].tobytes(), 10)
    assert await store.is_due("docs")

    tending = asyncio.create_task(store.tend("docs", 0))
    await store.write([embedding(f"late{n}", *rows[n]) for n in range(3)])
    assert await tending == {"optimised": 1}
    shape = await store.shape("docs")
    assert shape is not None
    assert shape.vectors == len(rows) + 3
    assert (shape.indexed or 0) >= len(rows)
    assert not await store.is_due("docs")
    assert await store.tend("docs", 0) == {}
    found = await store.search("docs", rows[5].tobytes(), 10)
    assert len({hit.id for hit in found} & {hit.id for hit in exact}) >= 9
    assert [hit.id for hit in await store.search("docs", rows[5].tobytes(), 2, {"n": {"$in": [5, 6]}})] == ["5", "6"]
    for where, those in (({"half": 1}, rows[1::2]), ({"n": {"$lt": 1_500}}, rows[:1_500])):
        best = sorted((those @ rows[5] / np.linalg.norm(those, axis=1)).tolist(), reverse=True)[:10]
        hits = await store.search("docs", rows[5].tobytes(), 10, where)
        scores = [hit.score * float(np.linalg.norm(rows[5])) for hit in hits]
        assert scores == pytest.approx(best, abs=1e-4), where


async def test_a_walk_goes_on_in_the_collection_that_was_made_anew(store: PointStore) -> None:
    await store.write([embedding(f"a{n}") for n in range(6)])
    assert len(await store.walk_vectors("docs", None, 3)) == 3

    await store.drop("docs")
    await store.write([embedding("a4b")])

    assert [each.key for each in await store.walk_vectors("docs", "a2", 3)] == ["a4b"]


async def test_a_walk_through_more_keys_than_it_keeps_gives_each_once_in_order(
    store: PointStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walking, "WINDOW", 7)
    monkeypatch.setattr(walking, "PAGE", 5)
    keys = sorted(f"key {n}" for n in range(40))
    await store.write([embedding(key) for key in keys])

    walked: list[str] = []
    while page := await store.walk_vectors("docs", walked[-1] if walked else None, 3):
        walked += [each.key for each in page]
    assert walked == keys
    assert [each.key for each in await store.walk_vectors("docs", keys[9], 20)] == keys[10:30]


async def test_a_walk_goes_on_behind_keys_that_went_since_it_began(store: PointStore) -> None:
    await store.write([embedding(f"{n}") for n in range(6)])
    assert len(await store.walk_vectors("docs", None, 2)) == 2
    await store.write([EmbeddingDeletion(new_id(), 2, "docs", "2"), EmbeddingDeletion(new_id(), 2, "docs", "3")])
    await store.tend("docs", 3)

    assert [each.key for each in await store.walk_vectors("docs", "1", 2)] == ["4", "5"]
