"""The connections of a PostgreSQL store: replaced when they are old or dead, and nobody is told."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator

import pytest

from penstock.stores import StoreUnavailable
from penstock.stores.postgres import PostgresStore, open_sql, pool
from penstock.stores.postgres.settings import parse
from penstock.stores.queries import MessageQuery
from penstock.testing.conformance.records import message
from tests.conformance.postgres_server import Schema


@pytest.fixture
async def store(schema: Schema) -> AsyncIterator[PostgresStore]:
    store = _open(schema)
    await store.setup()
    yield store
    await store.close()


def _open(schema: Schema, options: str = "pool_max=4") -> PostgresStore:
    return open_sql(f"{schema.url}&application_name={schema.name}&{options}")


def _sessions(schema: Schema) -> list[int]:
    found = schema.rows("SELECT pid FROM pg_stat_activity WHERE application_name = $1 ORDER BY pid", schema.name)
    return [row[0] for row in found]


def _end_sessions(schema: Schema) -> int:
    """Returns how many there were, all gone by now."""
    ended = schema.rows(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name = $1", schema.name
    )
    return len(ended)


async def _use(store: PostgresStore, connections: int) -> None:
    """Have that many connections open, and idle again."""
    async with asyncio.TaskGroup() as group:
        for number in range(connections):
            group.create_task(store.write([message(1_000 + number, f"other {number}")]))
            group.create_task(store.count_messages(MessageQuery()))


async def test_a_session_that_ended_between_two_writes_is_not_noticed(store: PostgresStore, schema: Schema) -> None:
    await store.write([message(0)])

    for number in range(1, 7):
        assert _end_sessions(schema) >= 1  # the loop is held meanwhile, and has not seen it when it writes
        assert await store.write([message(number)]) == 1
        await asyncio.to_thread(_end_sessions, schema)  # the loop runs, and may have seen it
        assert await store.write([message(number)]) == 0

    assert schema.counts()["s"].messages == 7


async def test_a_session_that_ended_between_two_reads_is_not_noticed(store: PostgresStore, schema: Schema) -> None:
    await store.write([message(0)])

    for _ in range(5):
        assert _end_sessions(schema) >= 1
        assert await store.count_messages(MessageQuery()) == 1


async def test_all_sessions_may_have_ended_at_once(store: PostgresStore, schema: Schema) -> None:
    await _use(store, 4)
    before = _sessions(schema)
    assert _end_sessions(schema) == len(before) > 1

    await _use(store, 4)

    assert not set(before) & set(_sessions(schema))


async def test_a_session_that_ends_within_a_write_is_told(store: PostgresStore, schema: Schema) -> None:
    """Its commit may have been the last that it did, so that only the caller can say what to do."""
    schema.execute("BEGIN", f"LOCK TABLE {schema.name}.messages")
    writing = asyncio.create_task(store.write([message(0)]))
    while not schema.rows(
        "SELECT 1 FROM pg_stat_activity WHERE application_name = $1 AND wait_event_type = 'Lock'", schema.name
    ):
        await asyncio.sleep(0)
    _end_sessions(schema)
    schema.execute("ROLLBACK")

    with pytest.raises(StoreUnavailable):
        await writing
    assert await store.write([message(0)]) == 1


async def test_an_idle_connection_that_no_longer_answers_is_found_before_it_is_used(
    schema: Schema, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As behind a firewall that has forgotten it: its session is there, stopped, and nothing comes back."""
    store = _open(schema, "pool_max=1&connect_timeout=1&timeout=20")
    blind = _open(schema, "pool_max=1&timeout=1&pool_pre_ping=false")
    await store.setup()
    await blind.check()
    monkeypatch.setattr(pool, "_IDLE_S", 0)
    stopped = _sessions(schema)
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    try:
        assert await store.write([message(0)]) == 1
        found_after_s = time.monotonic() - began
        with pytest.raises(StoreUnavailable, match="Timeout"):
            await blind.check()
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)

    assert len(stopped) == 2
    assert 1 <= found_after_s < 20
    await store.close()
    await blind.close()


async def test_an_old_connection_is_replaced(schema: Schema, monkeypatch: pytest.MonkeyPatch) -> None:
    store = _open(schema, "pool_max=1&pool_recycle_s=60")
    lasting = _open(schema, "pool_max=1&pool_recycle_s=0")
    await store.setup()
    await lasting.check()
    first = _sessions(schema)
    await store.check()
    assert _sessions(schema) == first

    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 61)
    await store.write([message(0)])
    await lasting.check()

    assert len(set(_sessions(schema)) & set(first)) == 1
    await store.close()
    await lasting.close()


@pytest.mark.parametrize(
    ("options", "pool_max", "recycle_s", "pings"),
    [
        ("", 4, 1800, True),
        ("pool_size=5&max_overflow=10&pool_recycle=3600&pool_pre_ping=True", 15, 3600, True),
        ("pool_size=2&pool_recycle=-1", 2, 0, True),
        ("max_overflow=3&pool_pre_ping=false", 7, 1800, False),
        ("pool_max=9&pool_recycle_s=7&pool_pre_ping=0", 9, 7, False),
    ],
)
def test_options_may_be_spelt_as_in_sqlalchemy(options: str, pool_max: int, recycle_s: int, pings: bool) -> None:
    settings = parse(f"postgresql://h/db?{options}")

    assert (settings.pool_max, settings.pool_recycle_s, settings.pool_pre_ping) == (pool_max, recycle_s, pings)
    assert settings.dsn == "postgresql://h/db"
