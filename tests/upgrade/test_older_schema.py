"""A worker that may not migrate runs on the schema of the release before, as far as that goes."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from penstock.cli.exits import Code
from penstock.embedded import EmbeddedQueue
from penstock.query import Reader
from penstock.stores import StoreRejected, sql_store
from penstock.stores.contract import SqlStore
from penstock.stores.errors import SchemaTooOld
from penstock.stores.registry import key_value_store
from penstock.stores.sqlite.schema import MIGRATIONS
from penstock.testing.system import System
from penstock.wire.building_state import StateBuilder
from penstock.wire.ids import RisingClock, StampClock, id_from_key
from penstock.wire.records import LogEvent, MessageDeletion
from tests.conformance.postgres_server import Postgres, Schema
from tests.conformance.sqlite_file import execute
from tests.system.command import penstock
from tests.upgrade.earlier import OLD, dumps, load_postgres, load_sqlite

TITLES = [each.title for each in MIGRATIONS]
"""The same in both backends."""

STATE = StateBuilder(RisingClock(), StampClock(b"8 bytes."))
NEW = OLD._replace(id=id_from_key("new"), created_at_us=OLD.created_at_us + 9)
LOG = LogEvent(id_from_key("new log"), 1, 20, "new")
DELETION = MessageDeletion(id_from_key("deletion"), OLD.created_at_us + 10, "s", OLD.id)


class OlderSchema(ABC):
    """Both databases keep to this. A binding brings `url`, of a database one version behind, and `empty`, of one
    without tables; and `say`, which executes SQL there."""

    @pytest.fixture
    async def store(self, url: str) -> AsyncIterator[SqlStore]:
        store = sql_store(url)
        await store.setup(migrate=False)
        yield store
        await store.close()

    @pytest.fixture
    def system(self, url: str, tmp_path: Path, queue_server: EmbeddedQueue) -> Iterator[System]:
        whole = System(tmp_path, queue_server, {"PENSTOCK_SQL_URL": url, "PENSTOCK_MIGRATE": "false"})
        yield whole
        whole.stop()

    @abstractmethod
    def say(self, url: str, sql: str) -> None:
        """Run *sql* past the store."""

    async def test_it_is_left_as_it_is(self, store: SqlStore) -> None:
        schema = await store.schema()

        assert (schema.found, schema.newest) == (1, len(MIGRATIONS))
        assert list(schema.pending) == TITLES[1:]

    async def test_messages_and_logs_are_stored_and_read(self, store: SqlStore) -> None:
        assert await store.write([OLD, NEW, LOG]) == 2

        async with Reader.open(sql=store) as reader:
            assert [each.content for each in await reader.messages("s")] == [OLD.content] * 2
            assert len(await reader.logs()) == 2
        assert (await store.totals()).messages == 2
        assert (await store.health()).healthy

    async def test_no_value_is_put_where_there_is_no_place_for_it(self, url: str) -> None:
        store = key_value_store(url)
        await store.setup(migrate=False)

        with pytest.raises(SchemaTooOld):
            await store.put([STATE.key_value(key="k", value=1)], now_us=1)

        await store.close()

    async def test_what_it_has_no_place_for_waits_alone(self, store: SqlStore) -> None:
        outcomes = await asyncio.gather(
            store.write([STATE.task(task_id="t")]),
            store.write([NEW]),
            store.write([DELETION]),
            store.write([LOG]),
            return_exceptions=True,
        )

        assert [each for each in outcomes if isinstance(each, int)] == [1, 1]
        waiting = [each for each in outcomes if isinstance(each, BaseException)]
        assert [type(each) for each in waiting] == [SchemaTooOld, SchemaTooOld]
        assert all("run `penstock migrate`" in str(each) for each in waiting)

    async def test_messages_are_not_searched_before_the_migration(self, store: SqlStore) -> None:
        async with Reader.open(sql=store) as reader:
            await store.write([NEW])

            assert await store.refresh_search(10) == 0
            await store.reindex()
            with pytest.raises(SchemaTooOld, match=r"words are found.*run `penstock migrate`"):
                await reader.search_messages("long")

            await store.setup()
            assert await store.refresh_search(10) == 2
            assert len(await reader.search_messages("long")) == 2

    async def test_it_goes_on_when_another_one_has_migrated(self, store: SqlStore, url: str) -> None:
        with pytest.raises(SchemaTooOld):
            await store.write([STATE.task(task_id="t")])
        other = sql_store(url)
        await other.setup()
        await other.close()

        assert await store.write([STATE.task(task_id="t"), DELETION]) == 2
        assert await store.task("t") is not None

    async def test_it_goes_on_when_it_has_migrated_itself(self, store: SqlStore) -> None:
        assert await store.write([NEW]) == 1
        await store.setup()

        assert await store.write([STATE.task(task_id="t")]) == 1

    async def test_one_without_tables_is_refused(self, empty: str) -> None:
        store = sql_store(empty)

        with pytest.raises(SchemaTooOld, match=r"no tables.*penstock migrate"):
            await store.setup(migrate=False)
        await store.close()

    async def test_one_that_is_newer_is_refused(self, url: str) -> None:
        self.say(url, "UPDATE schema_migrations SET number = 9 WHERE number = 1")
        store = sql_store(url)

        with pytest.raises(StoreRejected, match=rf"version 9.* up to {len(MIGRATIONS)}"):
            await store.setup(migrate=False)
        await store.close()

    async def test_the_command_tells_then_migrates_then_has_nothing_to_do(
        self, url: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        waits = await penstock(capsys, "migrate", "--dry-run", "--sql-url", url)
        still = await penstock(capsys, "migrate", "--dry-run", "--json", "--sql-url", url)
        done = await penstock(capsys, "migrate", "--sql-url", url)
        again = await penstock(capsys, "migrate", "--sql-url", url)

        assert waits.code == still.code == Code.NO
        assert "pending  0002_state" in waits.out
        assert still.json() == {"before": 1, "now": 1, "newest": len(MIGRATIONS), "pending": TITLES[1:]}
        assert done.code == again.code == Code.OK
        assert "applied  0002_state" in done.out
        assert again.out == f"The schema has version {len(MIGRATIONS)}, the newest.\n"

    async def test_a_worker_stores_messages_while_state_waits_for_the_migration(
        self, system: System, url: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        system.start_worker()
        await system.workers_alive(1)
        async with system.producer() as producer:
            state = producer.task(task_id="t")
            message = producer.message(session_id="s", role="user", content="new")
            await message.stored(timeout=30)
            assert (await system.counts()).pending == 1

            assert (await penstock(capsys, "migrate", "--sql-url", url)).code == Code.OK
            await state.stored(timeout=30)

        log = (system.folder / "worker-0.log").read_text()
        assert "lane waits" in log
        assert "run `penstock migrate`" in log

    async def test_a_worker_does_not_start_without_tables(self, system: System, empty: str) -> None:
        system.settings["PENSTOCK_SQL_URL"] = empty
        worker = system.start_worker()

        assert await asyncio.to_thread(worker.wait, 30) == Code.SETUP
        assert "run `penstock migrate`" in (system.folder / "worker-0.log").read_text()


class TestSqlite(OlderSchema):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return load_sqlite(dumps("sqlite")[0], tmp_path / "old.db")

    @pytest.fixture
    def empty(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/empty.db"

    def say(self, url: str, sql: str) -> None:
        execute(Path(url.removeprefix("sqlite:///")), sql)

    async def test_no_file_is_made(self, empty: str, tmp_path: Path) -> None:
        store = sql_store(empty)
        with pytest.raises(SchemaTooOld):
            await store.setup(migrate=False)
        await store.close()

        assert list(tmp_path.iterdir()) == []


class TestPostgres(OlderSchema):
    @pytest.fixture
    def url(self, schema: Schema) -> str:
        return load_postgres(dumps("postgres")[0], schema)

    @pytest.fixture
    def empty(self, postgres: Postgres) -> Iterator[str]:
        with postgres.schema() as other:
            yield other.url

    def say(self, url: str, sql: str) -> None:
        self._schema.execute(sql)

    @pytest.fixture(autouse=True)
    def _remember(self, schema: Schema) -> None:
        self._schema = schema
