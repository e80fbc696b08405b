"""Deletions in a PostgreSQL database that others write to at the same time, and in one of an older schema."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from penstock.stores.contract import Fence
from penstock.stores.postgres import PostgresStore, open_sql
from penstock.stores.postgres import schema as schema_of_store
from penstock.stores.postgres.deletions import _lock_of
from penstock.testing.conformance.records import START_US, message
from penstock.testing.conformance.state_records import forgotten, hidden
from tests.conformance.postgres_server import Schema

_OTHER = next(name for name in ("t", "u", "v") if _lock_of(name) != _lock_of("s"))


@pytest.fixture
async def store(schema: Schema) -> AsyncIterator[PostgresStore]:
    store = open_sql(schema.url)
    await store.setup()
    yield store
    await store.close()


async def _wait_until_locked_out(schema: Schema, sessions: int) -> None:
    """Until that many sessions of *schema*'s stores wait for a lock."""
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    while schema.rows(waiting) != [(sessions,)]:
        await asyncio.sleep(0)


@pytest.mark.parametrize("fences", [(None, None), (Fence("a", 1), None), (None, Fence("b", 1))], ids=str)
async def test_a_deletion_waits_for_who_writes_to_its_session_and_for_nobody_else(
    store: PostgresStore, schema: Schema, fences: tuple[Fence | None, Fence | None]
) -> None:
    schema.execute("BEGIN", f"LOCK TABLE {schema.name}.messages IN SHARE MODE")
    writing = asyncio.create_task(store.write([message(1)], fences[0]))
    await _wait_until_locked_out(schema, 1)
    deleting = asyncio.create_task(store.write([hidden(9, 1)], fences[1]))
    await _wait_until_locked_out(schema, 2)
    beside = await store.write([hidden(9, 2, _OTHER)])
    schema.execute("COMMIT")

    assert [await writing, await deleting, beside] == [1, 1, 1]
    assert [each.deleted_at_us for each in schema.messages()] == [START_US + 9]
    assert schema.counts()["s"].messages == 0


async def test_who_writes_to_a_session_waits_for_its_deletion(store: PostgresStore, schema: Schema) -> None:
    schema.execute("BEGIN", f"LOCK TABLE {schema.name}.tombstones IN SHARE MODE")
    deleting = asyncio.create_task(store.write([forgotten(5)]))
    await _wait_until_locked_out(schema, 1)
    writing = asyncio.create_task(store.write([message(1), message(9)]))
    await _wait_until_locked_out(schema, 2)
    beside = await store.write([message(1, _OTHER)._replace(id=message(7).id)])
    schema.execute("COMMIT")

    assert [await deleting, await writing, beside] == [1, 1, 1]
    assert {each.session_id: each.created_at_us for each in schema.messages()} == {
        "s": START_US + 9,
        _OTHER: START_US + 1,
    }


async def test_a_schema_without_tombstones_takes_messages_and_a_newer_worker_is_noticed(
    schema: Schema, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = open_sql(schema.url), open_sql(schema.url)
    with monkeypatch.context() as before:
        before.setattr(schema_of_store, "MIGRATIONS", schema_of_store.MIGRATIONS[:1])
        await old.setup()

    assert await old.write([message(0), message(1)]) == 2
    await new.setup()
    assert await new.write([forgotten(1), hidden(9, 2)]) == 2

    assert await old.write([message(0), message(1), message(2), message(3)]) == 2
    assert [each.deleted_at_us for each in schema.messages()] == [START_US + 9, None]
    await old.close()
    await new.close()
