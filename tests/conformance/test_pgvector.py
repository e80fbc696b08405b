"""The pgvector store passes the contract, on a real server; what is its own beside it: URLs, fences, schemas."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import asyncpg
import orjson
import pytest

from penstock.cli.migrating import _migrated
from penstock.stores.contract import Fence
from penstock.stores.errors import (
    BadStoreURL,
    DimensionMismatch,
    SchemaTooOld,
    StaleOwner,
    StoreRejected,
    StoreUnavailable,
)
from penstock.stores.filters import Condition, parse
from penstock.stores.pgvector import PgVectorStore, open_vector
from penstock.stores.pgvector.extension import found_extension, make_extension
from penstock.stores.pgvector.filtering import compiled
from penstock.stores.pgvector.names import Names
from penstock.stores.pgvector.settings import parse as parse_url
from penstock.stores.postgres.binding import numbered
from penstock.stores.questions import Question
from penstock.stores.vector_contract import VectorStore
from penstock.testing.conformance.filters import Document, Filter, FilterConformance
from penstock.testing.conformance.vector_records import Row, deletion, embedding, floats
from tests.conformance.pgvector_tables import rows_of
from tests.conformance.postgres_server import Postgres, Schema
from tests.conformance.replay_contract import VectorReplayConformance


class TestPgVector(VectorReplayConformance):
    vector_schema: Schema

    @pytest.fixture
    async def store(self, vector_schema: Schema, pgvector: PgVectorStore) -> PgVectorStore:
        self.vector_schema = vector_schema
        return pgvector

    async def stored(self, store: VectorStore, collection: str) -> dict[str, Row]:
        return rows_of(self.vector_schema, collection)


class TestPgVectorFilters(FilterConformance):
    """With what an index could answer put before them."""

    schema: ClassVar[Schema]

    def compiled(self, condition: Condition) -> tuple[str, dict[str, Any]]:
        return compiled(condition, Names("", ""))

    def results(self, documents: Sequence[Document], wheres: Sequence[Filter]) -> list[list[Any]]:
        stored = [None if each is None else orjson.dumps(each).decode() for each in documents]
        return [self._ask(stored, where) for where in wheres]

    def _ask(self, stored: Sequence[str | None], where: Filter) -> list[Any]:
        condition, values = self.compiled(parse(where))
        rows = "unnest(:documents::json[]) WITH ORDINALITY AS e (metadata, n)"
        question = Question(
            f"SELECT coalesce({condition}, false) FROM {rows} ORDER BY n", {**values, "documents": stored}
        )
        sql, bound = numbered(question)
        return [value for (value,) in self.schema.server.rows(sql, *bound)]


@pytest.fixture(scope="module", autouse=True)
def _served(postgres: Postgres) -> Iterator[None]:
    """For `results`, which can ask for no fixture."""
    with postgres.schema() as schema:
        TestPgVectorFilters.schema = schema
        yield


@pytest.mark.parametrize(
    ("where", "contained"),
    [
        ({"a": 1}, [{"a": 1}]),
        ({"a.b": "x", "n": {"$gt": 5}}, [{"a": {"b": "x"}}]),
        ({"a": {"$in": ["x", True]}}, [{"a": "x"}, {"a": True}]),
        ({"tags": {"$contains": "x"}}, [{"tags": ["x"]}]),
        ({"$or": [{"a": 1}, {"b": 2, "n": {"$gt": 5}}]}, [{"a": 1}, {"b": 2}]),
        ({"$or": [{"a": 1}, {"n": {"$gt": 5}}]}, []),
        ({"a": {"$ne": 1}}, []),
        ({"a": 2**53}, []),
        ({"a": {"$in": [*range(33)]}}, []),
    ],
    ids=str,
)
def test_an_index_is_asked_for_what_metadata_must_contain(where: Filter, contained: list[Any]) -> None:
    sql, values = compiled(parse(where), Names("", ""))

    assert [orjson.loads(value) for name, value in values.items() if name.startswith("contained")] == contained
    assert sql.count("@>") == len(contained)


@pytest.mark.parametrize("scheme", ["pgvector", "postgresql", "postgres", "postgresql+asyncpg"])
def test_the_url_names_server_schema_and_metric(scheme: str) -> None:
    settings = parse_url(f"{scheme}://me:secret@host:5433/db?schema=Mem&metric=l2&pool_max=7&sslmode=require")

    assert (settings.schema, settings.metric, settings.server.pool_max) == ("Mem", "l2", 7)
    assert settings.server.dsn == "postgresql://me:secret@host:5433/db?sslmode=require"
    assert "secret" not in repr(settings)


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("pgvector://host/db?metric=hamming", "cosine, dot, l2"),
        ("pgvector://host/db?schema=", "1 to 63 bytes"),
        ("pgvector://host/db?schema=" + "x" * 64, "1 to 63 bytes"),
        ("pgvector://host/db?index=ivf", "known are schema, metric, pool_min"),
        ("pgvector://[host/db", "no URL of a PostgreSQL server"),
        ("mysql://host/db", "no URL of a PostgreSQL server"),
    ],
)
def test_a_url_that_makes_no_sense_is_refused_with_the_remedy(url: str, remedy: str) -> None:
    with pytest.raises(BadStoreURL, match=remedy):
        open_vector(url)


async def test_tables_lie_in_the_schema_of_the_url(postgres: Postgres) -> None:
    url = f"{postgres.url('public')}&schema=Agent%22s memory"
    store = open_vector(url)
    try:
        with pytest.raises(SchemaTooOld, match="penstock migrate"):
            await store.setup(migrate=False)
        with pytest.raises(StoreUnavailable, match="vector_collections"):
            await store.write([embedding("a")])
        await asyncio.gather(*(open_vector(url).setup() for _ in range(3)))
        await store.setup(migrate=False)
        await store.write([embedding("a")])

        assert [hit.id for hit in await store.search("docs", floats(1, 0), 3)] == ["a"]
        assert postgres.rows('SELECT name FROM "Agent""s memory".vector_collections') == [("docs",)]
    finally:
        await store.close()
        postgres.execute('DROP SCHEMA IF EXISTS "Agent""s memory" CASCADE')


async def test_tables_are_made_by_hand_where_workers_may_not(schema: Schema, tmp_path: Path) -> None:
    sql_url = f"sqlite:///{tmp_path / 'p.db'}"

    waiting, unchanged = await _migrated(sql_url, schema.url, dry_run=True)
    assert waiting.pending[-1] == unchanged.pending[-1] == "tables of vectors"
    before, after = await _migrated(sql_url, schema.url, dry_run=False)
    assert (before.pending[-1], after.pending) == ("tables of vectors", [])
    again, _ = await _migrated(sql_url, schema.url, dry_run=True)
    assert again.pending == []
    assert schema.rows("SELECT number FROM vector_migrations") == [(1,)]


async def test_a_database_without_the_extension_says_what_to_do(postgres: Postgres) -> None:
    postgres.execute("CREATE DATABASE bare", "CREATE ROLE weak LOGIN")
    url = postgres.url("public").replace("postgres:@/postgres", "weak:@/bare")
    store = open_vector(url)
    try:
        with pytest.raises(StoreUnavailable, match="have a superuser run CREATE EXTENSION vector"):
            await store.setup()
        with pytest.raises(StoreUnavailable, match="no extension vector"):
            await store.search("docs", floats(1, 0), 3)
    finally:
        await store.close()
        postgres.execute("DROP DATABASE bare", "DROP ROLE weak")


class _Server:
    """A connection to a server that cannot be had from a wheel: one without pgvector, or with an old one."""

    def __init__(self, found: tuple[str, str] | None) -> None:
        self._found = found

    async def fetchrow(self, sql: str) -> tuple[str, str] | None:
        return self._found

    async def fetchval(self, sql: str) -> bool:
        return True

    async def execute(self, sql: str) -> None:
        raise asyncpg.FeatureNotSupportedError('extension "vector" is not available')


async def test_a_server_without_pgvector_is_told_with_the_remedy() -> None:
    with pytest.raises(StoreUnavailable, match="postgresql-NN-pgvector"):
        await make_extension(_Server(None))


async def test_an_old_extension_is_told_with_the_remedy() -> None:
    with pytest.raises(StoreUnavailable, match=r"0\.7\.4, 0\.8 is needed.*ALTER EXTENSION vector UPDATE"):
        await found_extension(_Server(("public", "0.7.4")))
    assert await found_extension(_Server(("ext", "0.10.0"))) == "ext"


async def test_an_owner_of_an_older_epoch_writes_nothing(pgvector: PgVectorStore, vector_schema: Schema) -> None:
    await pgvector.write([embedding("a")], Fence("test/embeddings:0", 5))

    with pytest.raises(StaleOwner) as caught:
        await pgvector.write([embedding("b"), deletion("a")], Fence("test/embeddings:0", 4))
    assert caught.value.seen == 5
    assert await pgvector.write([embedding("c")], Fence("test/embeddings:1", 1)) == 1
    assert sorted(rows_of(vector_schema, "docs")) == ["a", "c"]


async def test_a_batch_of_several_collections_is_refused_as_a_whole(
    pgvector: PgVectorStore, vector_schema: Schema
) -> None:
    nul = embedding("n", collection="b")._replace(metadata=rb'{"a":"\\\u0000"}')

    with pytest.raises(StoreRejected, match="NUL"):
        await pgvector.write([embedding("a", collection="a"), nul])
    with pytest.raises(StoreRejected, match=r"collection b: .*17,000 numbers.*16,000"):
        await pgvector.write([embedding("a", collection="a"), embedding("b", *[1.0] * 17_000, collection="b")])
    assert await pgvector.collections() == []
    escaped = embedding("e")._replace(metadata=rb'{"a":"\\u0000"}')
    assert await pgvector.write([escaped]) == 1
    assert rows_of(vector_schema, "docs")["e"].metadata == {"a": r"\u0000"}


async def test_two_stores_may_make_one_collection_at_once(pgvector: PgVectorStore, vector_schema: Schema) -> None:
    other = open_vector(vector_schema.url)
    writes = [
        store.write([embedding(f"{n}", collection=name) for name in ("x", "y")])
        for n, store in enumerate([pgvector, other] * 3)
    ]

    assert await asyncio.gather(*writes) == [2] * 6
    assert len(rows_of(vector_schema, "x")) == len(rows_of(vector_schema, "y")) == 6
    await other.close()


async def test_a_collection_that_another_store_drops_is_gone_here_too(
    pgvector: PgVectorStore, vector_schema: Schema
) -> None:
    other = open_vector(vector_schema.url)
    await pgvector.write([embedding("a")])
    assert len(await pgvector.search("docs", floats(1, 0), 3)) == 1

    await other.drop("docs")
    assert await pgvector.search("docs", floats(1, 0), 3) == []
    assert await pgvector.count_vectors("docs") == 0
    await other.write([embedding("b", 1, 2, 3)])
    assert [hit.id for hit in await pgvector.search("docs", floats(1, 2, 3), 3)] == ["b"]
    await other.close()


async def test_a_collection_that_another_store_makes_anew_has_its_new_length_at_once(
    pgvector: PgVectorStore, vector_schema: Schema
) -> None:
    other = open_vector(vector_schema.url)
    await pgvector.write([embedding("a")])
    assert len(await pgvector.search("docs", floats(1, 0), 3)) == 1

    await other.drop("docs")
    await other.write([embedding("b", 1, 2, 3)])

    assert [hit.id for hit in await pgvector.search("docs", floats(1, 2, 3), 3)] == ["b"]
    with pytest.raises(DimensionMismatch, match="of 3 numbers, this one has 2"):
        await pgvector.search("docs", floats(1, 0), 3)
    await other.close()


async def test_behind_a_pooler_of_transactions_nothing_is_left_on_a_connection(vector_schema: Schema) -> None:
    store = open_vector(f"{vector_schema.url}&statement_cache_size=0&pool_max=1")
    await store.write([embedding(f"{n}", 1, n, metadata={"n": n}) for n in range(5)])

    assert [hit.id for hit in await store.search("docs", floats(1, 0), 2, {"n": {"$gt": 2}})] == ["3", "4"]
    async with store._database._pool.connection() as connection:
        assert await connection.fetchval("SELECT current_setting('plan_cache_mode')") == "auto"
    await store.close()
