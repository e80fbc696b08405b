"""Every backend that keeps values under keys passes the one contract, looked at past it."""

from __future__ import annotations

import dbm
import tempfile
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest
import redis

from penstock.embedded import EmbeddedQueue
from penstock.stores.dbm import open_key_values as open_dbm
from penstock.stores.dbm.journal import Journal
from penstock.stores.memory import open_sql as open_memory
from penstock.stores.postgres import open_sql as open_postgres
from penstock.stores.redis import open_key_values as open_redis
from penstock.stores.sqlite import open_sql as open_sqlite
from penstock.stores.states import Row
from penstock.testing.conformance.key_values import KeyValueConformance, Place
from penstock.wire.frames import decode
from penstock.wire.records import KeyValue
from tests.conformance.postgres_server import Postgres
from tests.conformance.sqlite_file import stored_states


def values_of(rows: list[Row]) -> dict[tuple[str, str], bytes]:
    """What of *rows* is there."""
    values = [row for row in rows if isinstance(row, KeyValue) and row.deleted_at_us is None]
    return {(row.namespace, row.key): row.value or b"" for row in values}


class TestMemory(KeyValueConformance):
    """Looked at through its dict."""

    @asynccontextmanager
    async def fresh(self) -> AsyncIterator[Place]:
        store = open_memory("memory://")
        await store.setup()
        try:
            yield Place(store, lambda: values_of(list(store._state._rows.values())))
        finally:
            await store.close()


class TestSqlite(KeyValueConformance):
    """Looked at through a connection of the standard library's."""

    @asynccontextmanager
    async def fresh(self) -> AsyncIterator[Place]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "values.db"
            store = open_sqlite(f"sqlite:///{path}?synchronous=NORMAL")
            await store.setup()
            try:
                yield Place(store, lambda: values_of(stored_states(path)))
            finally:
                await store.close()


class TestPostgres(KeyValueConformance):
    """Looked at through a connection of the driver's own."""

    server: ClassVar[Postgres]

    @asynccontextmanager
    async def fresh(self) -> AsyncIterator[Place]:
        with self.server.used_again("level 1") as schema:
            store = open_postgres(schema.url)
            await store.setup()
            try:
                yield Place(store, lambda: values_of(list(schema.states())))
            finally:
                await store.close()


class TestDbm(KeyValueConformance):
    """Looked at through the standard library, and what its journal adds."""

    @asynccontextmanager
    async def fresh(self) -> AsyncIterator[Place]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "values"
            store = open_dbm(f"dbm:///{path}")
            await store.setup()
            try:
                yield Place(store, lambda: values_of(in_dbm(path)))
            finally:
                await store.close()


def in_dbm(path: Path) -> list[Row]:
    found: dict[bytes, bytes] = {}
    if dbm.whichdb(str(path)):
        with dbm.open(str(path)) as file:
            rows: Any = file
            found = {key: rows[key] for key in rows.keys() if key != b"penstock"}  # noqa: SIM118 - it is no mapping
    with closing(Journal(path.with_name("values.journal"))) as journal:
        found |= journal.catch_up()[1]
    return [cast("Row", decode(row)) for row in found.values()]


class TestRedis(KeyValueConformance):
    """Looked at through a client of its own."""

    server: ClassVar[EmbeddedQueue]

    @asynccontextmanager
    async def fresh(self) -> AsyncIterator[Place]:
        prefix = f"t{uuid.uuid4().hex[:12]}"
        store = open_redis(f"{self.server.url}?prefix={prefix}")
        await store.setup()
        with closing(redis.Redis.from_url(self.server.url)) as client:
            try:
                yield Place(store, lambda: in_redis(client, prefix))
            finally:
                await store.close()
                for key in client.scan_iter(f"{prefix}:*", count=10_000):
                    client.delete(key)


def in_redis(client: Any, prefix: str) -> Mapping[tuple[str, str], bytes]:
    start = f"{prefix}:kv:{{"
    found: dict[tuple[str, str], bytes] = {}
    for name in client.scan_iter(f"{prefix}:kv:*", count=10_000):
        size, _, rest = name.decode().removeprefix(start)[:-1].partition(":")
        found[rest[: int(size)], rest[int(size) + 1 :]] = client.hget(name, "value")
    return found


@pytest.fixture(scope="module", autouse=True)
def _served(postgres: Postgres, queue_server: EmbeddedQueue) -> None:
    """For `fresh`, which can ask for no fixture: a property calls it once for each example."""
    TestPostgres.server = postgres
    TestRedis.server = queue_server
