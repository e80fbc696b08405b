"""The PostgreSQL store passes the contract at level 2 too, and answers no question by reading a whole partition."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, timedelta
from typing import ClassVar

import pytest

from penstock.stores.postgres import open_sql
from penstock.stores.postgres.binding import numbered
from penstock.stores.postgres.periods import Span
from penstock.testing.conformance.records import START_US, Backend
from penstock.testing.conformance.sql import SqlStoreConformance
from tests.conformance.postgres_server import Postgres, Schema
from tests.conformance.questions_asked import asked
from tests.conformance.replay_contract import ReplayConformance
from tests.conformance.test_postgres_schema import _fill, _literal


class TestPostgresLevel2(ReplayConformance, SqlStoreConformance):
    """Records have ids of callers' own keys here, which lie in the default partition."""

    server: ClassVar[Postgres]

    @asynccontextmanager
    async def fresh(self) -> AsyncIterator[Backend]:
        with self.server.used_again("level 2") as schema:
            store = open_sql(schema.url + "&level=2")
            await store.setup()
            try:
                yield Backend(
                    store, schema.messages, schema.logs, schema.counts, schema.chunks, schema.states, schema.words
                )
            finally:
                await store.close()


@pytest.fixture(scope="module", autouse=True)
def _served(postgres: Postgres) -> None:
    """For `fresh`, which can ask for no fixture: a property calls it once for each example."""
    TestPostgresLevel2.server = postgres


def _spread(schema: Schema) -> None:
    """Have the rows lie in ten partitions and the default one."""
    first = date(2025, 1, 1)
    for table in ("messages", "logs"):
        for number in range(10):
            span = Span(first + timedelta(days=number), first + timedelta(days=number + 1))
            low, high = (each.hex() for each in span.ids)
            schema.execute(
                f"CREATE TABLE {span.name(table)} PARTITION OF {table} FOR VALUES FROM ('{low}') TO ('{high}')",
                f"""WITH moved AS (DELETE FROM {table}_default WHERE id IN
                    (SELECT id FROM {table}_default LIMIT 1900) RETURNING *),
                dated AS (
                    SELECT overlay(id::text PLACING '{low[:8]}-{low[8:12]}-7' FROM 1 FOR 15) AS new_id, * FROM moved)
                INSERT INTO {table} SELECT
                    (jsonb_populate_record(NULL::{table}, to_jsonb(dated) || jsonb_build_object('id', new_id))).*
                FROM dated""",
            )
        schema.execute(f"VACUUM ANALYZE {table}")


async def test_no_question_reads_a_partition_from_end_to_end(schema: Schema) -> None:
    store = open_sql(schema.url + "&level=2")
    await store.setup()
    _fill(schema)
    _spread(schema)
    named = "SELECT relid::regclass::text FROM pg_partition_tree($1::text::regclass) WHERE isleaf"
    parts = [name for table in ("messages", "logs") for (name,) in schema.rows(named, table)]
    sizes = {part: schema.rows(f"SELECT count(*) FROM {part}")[0][0] for part in parts}
    # A random id may lie in one that was made ahead, which has a row or two then, and is read in any way.
    large = [part for part, rows in sizes.items() if rows > 900]

    read: dict[str, str] = {}
    async with store._pool.connection() as connection:
        for mode in ("force_custom_plan", "force_generic_plan"):
            await connection.execute(f"SET plan_cache_mode = {mode}")
            for question in asked(store._questions, START_US):
                sql, given = numbered(question)
                await connection.execute(f"PREPARE asked AS {sql}")
                values = ", ".join([_literal(value) for value in given])
                rows = await connection.fetch(f"EXPLAIN EXECUTE asked{f'({values})' if values else ''}")
                await connection.execute("DEALLOCATE asked")
                plan = "\n".join(row[0] for row in rows)
                if any(f"Seq Scan on {part} " in plan for part in large):
                    read[f"{mode}: {sql} {given}"] = plan
    await store.close()

    assert len(large) == 22
    assert read == {}
