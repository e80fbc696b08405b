"""Stores used without a queue: the contract on every backend, and what only a database has."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text

from penstock.direct import DirectStore, open_store
from penstock.stores import BadStoreURL, StoreUnavailable
from penstock.stores.errors import MissingExtra
from penstock.stores.health import CHECK_TIMEOUT_S, NotWell, examined
from penstock.stores.memory.sql import MemorySql
from penstock.stores.sqlite.schema import MIGRATIONS
from penstock.wire.records import Message
from tests.conformance.direct_contract import DirectContract
from tests.conformance.postgres_server import Schema
from tests.conformance.sqlite_file import execute

FAR = bytes.fromhex("f0000000000070008000000000000001")
"""A UUIDv7 of a clock that is thousands of years ahead."""


@pytest.fixture
async def store(url: str) -> AsyncIterator[DirectStore]:
    async with open_store(url) as opened:
        yield opened


class TestMemory(DirectContract):
    @pytest.fixture
    def url(self) -> str:
        return "memory://"

    async def test_there_is_no_engine(self, store: DirectStore) -> None:
        with pytest.raises(BadStoreURL, match="no database"):
            store.engine()


class OnDisk(DirectContract):
    """What both databases have."""

    async def test_an_engine_reads_what_was_stored(self, store: DirectStore) -> None:
        await store.message(session_id="s", role="user", content="Hello")

        assert store.engine() is store.engine()
        async with store.engine().connect() as connection:
            found = await connection.execute(text("SELECT content FROM messages WHERE role = :role"), {"role": "user"})
            assert found.scalars().all() == ["Hello"]

    async def test_an_engine_keeps_tables_of_its_own_beside_ours(self, store: DirectStore) -> None:
        async with store.engine().begin() as connection:
            await connection.execute(text("CREATE TABLE mine (n INTEGER)"))
            await connection.execute(text("INSERT INTO mine VALUES (7)"))

        await store.log(level="info", event="seen")
        async with store.engine().connect() as connection:
            assert (await connection.execute(text("SELECT n FROM mine"))).scalar_one() == 7

    async def test_without_sqlalchemy_the_extra_is_named(
        self, store: DirectStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "sqlalchemy.engine", None)

        with pytest.raises(MissingExtra, match=r"penstock\[sqlalchemy\]"):
            store.engine()


class TestSqlite(OnDisk):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/p.db"

    async def test_every_check_has_its_name(self, store: DirectStore) -> None:
        checks = (await store.health()).checks

        assert [check.name for check in checks] == ["answers", "schema", "writable", "disk", "log"]

    async def test_a_file_that_another_writer_holds_is_not_writable(self, tmp_path: Path) -> None:
        path = tmp_path / "p.db"
        async with open_store(f"sqlite:///{path}?busy_timeout_ms=20") as store:
            async with store.engine().connect() as other:
                await other.execute(text("BEGIN IMMEDIATE"))
                health = await store.health()
                await other.rollback()
            after = await store.health()

        assert [check.name for check in health.checks if not check.healthy] == ["writable"]
        assert "locked" in health.checks[2].detail
        assert after.healthy

    async def test_a_file_that_is_gone_is_told_and_raises_nothing(self, tmp_path: Path) -> None:
        path = tmp_path / "p.db"
        async with open_store(f"sqlite:///{path}") as store:
            await store.totals()  # which opens it for reading: the open file would still answer
            path.unlink()
            health = await store.health()

        assert not health.healthy
        assert "no such database" in next(check.detail for check in health.checks if not check.healthy)

    async def test_a_commit_that_found_the_file_locked_may_be_repeated(self, tmp_path: Path) -> None:
        async with open_store(f"sqlite:///{tmp_path}/p.db?busy_timeout_ms=20") as store:
            tx = store.begin()
            tx.message(session_id="s", role="user", content="once")
            tx.task(task_id="t")
            async with store.engine().connect() as other:
                await other.execute(text("BEGIN IMMEDIATE"))
                with pytest.raises(StoreUnavailable, match="locked"):
                    await tx.commit()
                await other.rollback()

            assert await tx.commit() == 2
            assert await store.reader.count_messages("s") == 1

    async def test_an_opening_that_failed_may_be_repeated(self, tmp_path: Path) -> None:
        (tmp_path / "folder").touch()
        store = open_store(f"sqlite:///{tmp_path}/folder/p.db")
        with pytest.raises(StoreUnavailable):
            await store.open()
        (tmp_path / "folder").unlink()

        async with store:
            await store.log(level="info", event="seen")

    async def test_a_schema_that_is_behind_is_told_and_still_well(self, store: DirectStore, tmp_path: Path) -> None:
        execute(tmp_path / "p.db", "DELETE FROM schema_migrations WHERE number > 1")
        schema = (await store.health()).checks[1]

        assert schema.healthy
        assert f"version 1 of {len(MIGRATIONS)}; run `penstock migrate`" in schema.detail


class TestPostgres(OnDisk):
    @pytest.fixture
    def url(self, schema: Schema) -> str:
        return schema.url

    async def test_every_check_has_its_name(self, store: DirectStore) -> None:
        checks = (await store.health()).checks

        assert [check.name for check in checks] == ["answers", "schema", "writable", "pool", "partitions"]
        assert "0 of 4 connections in use" in checks[3].detail

    async def test_a_database_that_only_reads_is_not_writable(self, schema: Schema) -> None:
        async with open_store(schema.url):
            pass
        url = schema.url.replace("-csearch_path", "-cdefault_transaction_read_only%3Don%20-csearch_path")
        store = open_store(url)
        store._opened_at = 0.0  # setting up would write
        health = await store.health()
        await store.close()

        assert [check.name for check in health.checks if not check.healthy] == ["writable"]
        assert "read-only" in health.checks[2].detail

    async def test_rows_by_time_outside_of_every_partition_are_an_alarm(self, schema: Schema) -> None:
        async with open_store(f"{schema.url}&level=2") as store:
            await store.message(session_id="s", role="user", id=UUID(int=5 << 76 | 1 << 63))
            well = (await store.health()).checks[4]
            await store.write([Message(FAR, 253_402_300_000_000_000, "s", "user", "the clock is wrong")])
            ill = (await store.health()).checks[4]
            totals = await store.totals()

        assert well.healthy
        assert not ill.healthy
        assert "messages 1" in ill.detail
        assert totals.messages == 2

    async def test_a_large_table_is_estimated_and_not_counted(self, store: DirectStore, schema: Schema) -> None:
        schema.execute(
            """INSERT INTO sessions
            SELECT 's' || n, NULL, NULL, 1, now(), now(), gen_random_uuid() FROM generate_series(1, 20000) AS n""",
            "ANALYZE sessions",
        )
        totals = await store.totals()

        assert not totals.exact
        assert 19_000 < totals.sessions < 21_000
        assert totals.messages == 0


class CountingStore(MemorySql):
    """Knows how often it was set up and closed."""

    setups = closings = 0

    async def setup(self, *, migrate: bool = True) -> None:
        self.setups += 1
        await asyncio.sleep(0)
        await super().setup(migrate=migrate)

    async def close(self) -> None:
        self.closings += 1
        await super().close()


async def test_tasks_that_open_one_store_at_once_open_and_close_it_once() -> None:
    counting = CountingStore()
    store = DirectStore(counting)
    entered = asyncio.Barrier(5)

    async def use() -> None:
        async with store:
            await entered.wait()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(5):
            tasks.create_task(use())

    assert (counting.setups, counting.closings) == (1, 1)


# A check by itself


async def test_a_check_that_hangs_or_breaks_is_not_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.stores.health.CHECK_TIMEOUT_S", 0.01)

    async def hang() -> str:
        await asyncio.Event().wait()
        raise AssertionError

    async def broken() -> str:
        raise RuntimeError("boom")

    async def ill() -> str:
        raise NotWell("too full")

    async def fine() -> str:
        return "fine"

    health = await examined({"fine": fine, "hang": hang, "broken": broken, "ill": ill})
    alone = await examined({"ill": ill, "fine": fine})

    assert CHECK_TIMEOUT_S == 5
    assert not health.healthy
    assert [check.detail for check in health.checks[1:]] == [
        "no answer within 0.01 s",
        "RuntimeError: boom",
        "too full",
    ]
    assert [check.name for check in alone.checks] == ["ill"]
