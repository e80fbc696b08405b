"""The index that a Lance table gets once it is large: what it finds, what it leaves out, when it is made anew."""

from __future__ import annotations

import math
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from penstock.stores.lancedb import LanceStore, indexing
from penstock.stores.lancedb.unfinished import note
from penstock.stores.metrics import Metric, scorer
from penstock.testing.conformance.vector_records import deletion, embedding, floats
from penstock.wire.records import Embedding

ROWS = 2_000


@pytest.fixture
async def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LanceStore]:
    """One whose tables have outgrown a search without an index early."""
    monkeypatch.setattr(indexing, "INDEX_FROM", ROWS)
    monkeypatch.setattr(indexing, "MAX_TAIL", 100)
    monkeypatch.setattr(indexing, "_PARTITION_ROWS", 50)
    store = LanceStore(tmp_path)
    yield store
    await store.close()


def vectors(first: int, count: int) -> list[Embedding]:
    rng = random.Random(first)
    return [embedding(f"k{first + n}", *(rng.gauss(0, 1) for _ in range(6))) for n in range(count)]


def nearest(written: list[Embedding], wanted: bytes, metric: Metric) -> list[str]:
    score = scorer(metric, wanted)
    return [each.key for each in sorted(written, key=lambda each: -(score(each.vector) or -math.inf))[:10]]


async def test_a_table_that_has_grown_is_indexed_and_finds_what_is_near(store: LanceStore) -> None:
    written = vectors(0, ROWS)
    await store.write(written[:-1])
    assert not await store.is_due("docs")
    await store.write(written[-1:])

    assert await store.is_due("docs")
    assert await store.tend("docs", 0) == {"indexed": ROWS}
    shape = await store.shape("docs")
    assert shape is not None
    assert (shape.vectors, shape.indexed) == (ROWS, ROWS)
    assert not await store.is_due("docs")
    found = 0
    for query in vectors(50_000, 20):
        hits = await store.search("docs", query.vector, 10)
        found += len({hit.id for hit in hits}.intersection(nearest(written, query.vector, "cosine")))
    assert found >= 0.95 * 200


async def test_another_metric_than_the_indexs_looks_at_every_vector(store: LanceStore) -> None:
    written = vectors(0, ROWS)
    await store.write(written)
    await store.tend("docs", 0)

    for metric in ("dot", "l2"):
        hits = await store.search("docs", floats(1, 2, 3, 4, 5, 6), 10, metric=metric)
        assert [hit.id for hit in hits] == nearest(written, floats(1, 2, 3, 4, 5, 6), metric)


async def test_what_is_written_and_deleted_beside_the_index_is_seen_at_once(store: LanceStore) -> None:
    await store.write(vectors(0, ROWS))
    await store.tend("docs", 0)

    await store.write([embedding("new", 1, 2, 3, 4, 5, 6), embedding("k0", 1, 2, 3, 4, 5, 7, at_us=2), deletion("k1")])
    hits = await store.search("docs", floats(1, 2, 3, 4, 5, 6), 2)
    assert [hit.id for hit in hits] == ["new", "k0"]
    everything = await store.search("docs", floats(1, 2, 3, 4, 5, 6), ROWS + 10)
    assert {hit.id for hit in everything} == {"new", *(f"k{n}" for n in range(ROWS) if n != 1)}
    assert len(everything) == ROWS


async def test_a_filter_that_leaves_little_is_still_given_all_that_matches(store: LanceStore) -> None:
    marked = [embedding(f"m{n}", *((-1) ** n * (n + 1) for _ in range(6)), metadata={"rare": n}) for n in range(12)]
    await store.write([*vectors(0, ROWS), *marked])
    await store.tend("docs", 0)

    hits = await store.search("docs", floats(1, 1, 1, 1, 1, 1), 12, {"rare": {"$gte": 0}})
    assert len(hits) == 12


async def test_a_tail_is_taken_into_the_index_and_a_table_of_twice_the_size_gets_another(store: LanceStore) -> None:
    await store.write(vectors(0, ROWS))
    await store.tend("docs", 0)

    await store.write(vectors(ROWS, 150))
    assert (await store.tend("docs", 0))["indexed"] == 150
    await store.write(vectors(ROWS + 150, ROWS))
    assert await store.is_due("docs")
    await store.tend("docs", 0)

    found = await store._catalog.find("docs")
    assert found is not None
    assert [index.rows for index in await indexing.indexes(found.table)] == [2 * ROWS + 150]
    shape = await store.shape("docs")
    assert shape is not None
    assert shape.indexed == 2 * ROWS + 150


async def test_a_store_of_another_metric_gets_an_index_for_it(store: LanceStore) -> None:
    written = vectors(0, ROWS)
    await store.write(written)
    await store.tend("docs", 0)

    other = LanceStore(store.folder, metric="l2")
    assert await other.is_due("docs")
    assert await other.tend("docs", 0) == {"indexed": ROWS}
    hits = await other.search("docs", written[7].vector, 1)
    assert [(hit.id, hit.score) for hit in hits] == [("k7", 0)]
    await other.close()


@pytest.mark.parametrize("is_noted", [False, True])
async def test_a_torn_index_is_passed_over_and_made_anew(store: LanceStore, is_noted: bool) -> None:
    written = vectors(0, ROWS)
    await store.write(written)
    await store.tend("docs", 0)
    await store.close()
    for file in (store.folder / "docs.lance" / "_indices").rglob("*.idx"):
        file.write_bytes(b"")
    if is_noted:  # as upkeep that power was lost in has left it
        note(store.folder, "docs")

    again = LanceStore(store.folder)
    query = floats(1, 2, 3, 4, 5, 6)
    with capture_logs() as logs:
        assert [hit.id for hit in await again.search("docs", query, 10)] == nearest(written, query, "cosine")
    assert [each["event"] for each in logs] == ["index_unusable"]
    assert await again.is_due("docs") is is_noted
    if is_noted:
        assert await again.tend("docs", 0) == {"indexed": ROWS}
        with capture_logs() as logs:
            assert await again.search("docs", query, 10)
        assert logs == []
        assert not await again.is_due("docs")
    await again.close()
