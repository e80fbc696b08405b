"""Collections that have outgrown a search without an index: when one is built, what it answers, what it leaves out."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from penstock.stores.errors import StoreUnavailable
from penstock.stores.filters import parse as parse_filter
from penstock.stores.metrics import Metric
from penstock.stores.pgvector import PgVectorStore, indexing
from penstock.stores.pgvector.catalog import Collection
from penstock.stores.pgvector.database import Session
from penstock.stores.pgvector.names import Names
from penstock.stores.pgvector.searching import Search, nearest
from penstock.stores.pgvector.settings import parse
from penstock.testing.conformance.vector_records import deletion, embedding, floats
from penstock.wire.records import Embedding
from tests.conformance.pgvector_tables import indexes_of, number_of, rows_of
from tests.conformance.postgres_server import Schema

FEW = 100
"""Vectors that the stores here search without an index."""

MANY = 300


def around(count: int, *rest: float) -> list[Embedding]:
    """Vectors along a half circle, the first one at its beginning, with as many numbers more as *rest* has."""
    angles = [math.pi * n / count for n in range(count)]
    return [
        embedding(f"{n:04}", math.cos(at), math.sin(at), *rest, metadata={"n": n, "odd": n % 2 == 1})
        for n, at in enumerate(angles)
    ]


def small_store(schema: Schema, options: str = "") -> PgVectorStore:
    """One that looks for an index soon, and whose server has no reason to do without it."""
    return PgVectorStore(parse(f"{schema.url}%20-cenable_seqscan%3Doff{options}"), exact_below=FEW)


@pytest.fixture
async def store(vector_schema: Schema) -> AsyncIterator[PgVectorStore]:
    store = small_store(vector_schema)
    yield store
    await store.close()


async def plan_of(
    store: PgVectorStore, vector: bytes, where: Mapping[str, Any] | None = None, metric: Metric = "cosine"
) -> str:
    found = await store._catalog.find("docs", fresh=True)
    assert found is not None

    async def explain(session: Session) -> str:
        sql, values = nearest(session.names, found, Search(vector, 3, parse_filter(where), metric))
        return "\n".join(line for (line,) in await session.connection.fetch(f"EXPLAIN {sql}", *values))

    return await store._database.ask(explain)


async def test_a_collection_that_has_outgrown_a_scan_gets_its_indexes_once(
    store: PgVectorStore, vector_schema: Schema
) -> None:
    await store.write(around(FEW))
    assert not await store.is_due("docs")
    await store.write([deletion(f"gone{n}", at_us=n) for n in range(FEW)])
    assert await store.tend("docs", 0) == {}
    await store.write(around(MANY))

    assert await store.tend("docs", FEW) == {"tombstones": FEW, "indexes": 2}
    assert indexes_of(vector_schema, "docs") == {"cosine", "metadata"}
    assert not await store.is_due("docs")
    assert await store.tend("docs", 0) == {}
    shape = await store.shape("docs")
    assert shape is not None
    assert (shape.vectors, shape.indexed) == (MANY, MANY)


async def test_an_index_answers_and_takes_what_is_written_later(store: PgVectorStore) -> None:
    await store.write(around(MANY))
    await store.tend("docs", 0)
    await store.write([embedding("new", 1, -1, at_us=2), embedding("0001", 0, 1, at_us=2), deletion("0002")])

    assert "_cosine" in await plan_of(store, floats(1, 0))
    assert [hit.id for hit in await store.search("docs", floats(1, 0), 3)] == ["0000", "0003", "0004"]
    assert [hit.id for hit in await store.search("docs", floats(1, -1), 1)] == ["new"]
    hits = await store.search("docs", floats(1, 0), MANY)
    assert len(hits) == MANY
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


async def test_what_metadata_must_contain_is_found_by_its_index(store: PgVectorStore) -> None:
    await store.write([*around(MANY), embedding("rare", -1, 0, metadata={"tag": ["x"]})])
    await store.tend("docs", 0)

    where = {"tag": {"$contains": "x"}, "n": {"$exists": False}}
    assert "_metadata" in await plan_of(store, floats(1, 0), where)
    assert [hit.id for hit in await store.search("docs", floats(1, 0), 3, where)] == ["rare"]


async def test_a_filter_that_next_to_nothing_passes_still_gives_all_that_do(vector_schema: Schema) -> None:
    hasty = small_store(vector_schema, "%20-chnsw.max_scan_tuples%3D1")
    await hasty.write(around(MANY))
    await hasty.tend("docs", 0)

    where = {"n": {"$gte": MANY - 10}}
    assert "_cosine" in await plan_of(hasty, floats(1, 0), where)
    hits = await hasty.search("docs", floats(1, 0), 5, where)
    assert [hit.id for hit in hits] == [f"{n:04}" for n in range(MANY - 10, MANY - 5)]
    await hasty.close()


async def test_many_are_searched_for_with_as_many_candidates(store: PgVectorStore) -> None:
    await store.write(around(MANY))
    await store.tend("docs", 0)

    hits = await store.search("docs", floats(1, 0), 200, {"odd": True})
    assert [hit.id for hit in hits] == [f"{n:04}" for n in range(1, MANY, 2)]


async def test_an_index_is_of_the_metric_of_the_url(vector_schema: Schema) -> None:
    store = small_store(vector_schema, "&metric=l2")
    await store.write(around(MANY))
    await store.tend("docs", 0)

    assert indexes_of(vector_schema, "docs") == {"l2", "metadata"}
    assert "_l2" in await plan_of(store, floats(1, 0), metric="l2")
    assert "_l2" not in await plan_of(store, floats(1, 0), metric="dot")
    assert [hit.id for hit in await store.search("docs", floats(1, 0), 2)] == ["0000", "0001"]
    assert [hit.id for hit in await store.search("docs", floats(9, 0), 2, metric="dot")] == ["0000", "0001"]
    await store.close()


async def test_vectors_too_long_for_an_index_are_indexed_by_half_and_scored_by_all(store: PgVectorStore) -> None:
    await store.write(around(150, *[0.0] * 2_500))
    assert await store.tend("docs", 0) == {"indexes": 2}

    wanted = floats(1, 0, *[0.0] * 2_500)
    assert "halfvec" in await plan_of(store, wanted)
    hits = await store.search("docs", wanted, 3)
    assert [hit.id for hit in hits] == ["0000", "0001", "0002"]
    # In numbers of 2 bytes the second one would be 0.99951.
    assert [hit.score for hit in hits] == pytest.approx([math.cos(math.pi * n / 150) for n in range(3)], abs=1e-6)


async def test_vectors_too_long_for_any_index_are_searched_one_by_one(store: PgVectorStore) -> None:
    await store.write([embedding(f"{n}", *[1.0] * 4_001, n) for n in range(FEW + 1)])

    assert not await store.is_due("docs")
    assert await store.tend("docs", 0) == {}
    assert [hit.id for hit in await store.search("docs", floats(*[1.0] * 4_001, 7), 1)] == ["7"]


async def test_an_index_that_a_crash_has_left_half_built_is_built_anew(
    store: PgVectorStore, vector_schema: Schema
) -> None:
    await store.write(around(MANY))
    await store.tend("docs", 0)
    index = f"{vector_schema.name}.vectors_{number_of(vector_schema, 'docs')}_cosine"
    vector_schema.server.execute(f"UPDATE pg_index SET indisvalid = false WHERE indexrelid = '{index}'::regclass")
    await store._catalog.find("docs", fresh=True)

    assert await store.is_due("docs")
    assert await store.tend("docs", 0) == {"indexes": 1}
    assert indexes_of(vector_schema, "docs") == {"cosine", "metadata"}


async def test_several_who_tend_at_once_beside_writers_build_one_index_of_all(
    store: PgVectorStore, vector_schema: Schema
) -> None:
    await store.write(around(MANY))
    other = small_store(vector_schema)

    async with asyncio.TaskGroup() as group:
        tended = [group.create_task(each.tend("docs", 0)) for each in (store, store, other)]
        written = [group.create_task(store.write([embedding(f"late{n}", 1, -1 - n)])) for n in range(20)]
    assert sum(each.result().get("indexes", 0) for each in tended) == 2
    assert [each.result() for each in written] == [1] * 20
    assert len(rows_of(vector_schema, "docs")) == MANY + 20
    assert [hit.id for hit in await other.search("docs", floats(1, -20), 1)] == ["late19"]
    await other.close()


@asynccontextmanager
async def held_up(schema: Schema) -> AsyncIterator[None]:
    """A writer that does not come to its end: no index of the collection is finished meanwhile."""
    writer = await asyncpg.connect(schema.url)
    async with writer.transaction():
        await writer.execute(f"LOCK TABLE vectors_{number_of(schema, 'docs')} IN ROW EXCLUSIVE MODE")
        yield
    await writer.close()


async def test_an_index_is_built_on_though_its_caller_is_cancelled(store: PgVectorStore, vector_schema: Schema) -> None:
    await store.write(around(MANY))

    async with held_up(vector_schema):
        tending = asyncio.create_task(store.tend("docs", 0))
        while not store._builds:
            await asyncio.sleep(0)
        tending.cancel()
        await asyncio.wait([tending])
        assert tending.cancelled()
        assert not await store.is_due("docs")
        assert await store.tend("docs", 0) == {}
    await asyncio.wait(store._builds.values())
    assert indexes_of(vector_schema, "docs") == {"cosine", "metadata"}


async def test_a_store_that_is_closed_leaves_its_index_to_the_next(vector_schema: Schema) -> None:
    first, second = small_store(vector_schema), small_store(vector_schema)
    await first.write(around(MANY))

    async with held_up(vector_schema):
        tending = asyncio.create_task(first.tend("docs", 0))
        while not first._builds:
            await asyncio.sleep(0)
        await first.close()
        with pytest.raises(StoreUnavailable, match="closed while it built"):
            await tending
    assert await second.tend("docs", 0) == {"indexes": 2}
    assert indexes_of(vector_schema, "docs") == {"cosine", "metadata"}
    await second.close()


async def test_behind_a_pooler_of_transactions_the_index_is_built_in_one(vector_schema: Schema) -> None:
    store = small_store(vector_schema, "&statement_cache_size=0&pool_max=1")
    await store.write(around(MANY))

    assert await store.tend("docs", 0) == {"indexes": 2}
    assert indexes_of(vector_schema, "docs") == {"cosine", "metadata"}
    assert [hit.id for hit in await store.search("docs", floats(1, 0), 2)] == ["0000", "0001"]
    await store.close()


class _Cramped:
    """A connection to a server whose shared memory is too small for workers that help."""

    def __init__(self) -> None:
        self.done: list[str] = []

    async def fetchval(self, sql: str, *values: Any) -> None:
        return None

    async def execute(self, sql: str, timeout: float | None = None) -> None:
        self.done.append(" ".join(sql.split()[:2]))
        if self.done == ["CREATE INDEX"]:
            raise asyncpg.DiskFullError("could not resize shared memory segment")


async def test_where_shared_memory_is_short_an_index_is_built_without_helpers() -> None:
    connection = _Cramped()

    await indexing._build_one(
        Session(connection, Names("", "")), Collection(1, 3, frozenset()), "cosine", concurrently=True
    )
    assert connection.done == ["CREATE INDEX", "DROP INDEX", "-- Workers", "CREATE INDEX"]
