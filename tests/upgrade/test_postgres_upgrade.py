"""A database that an earlier release made is opened by this one.

`postgres_0001.sql` is the schema of release 0.1 with a few rows; further ones follow by the numbers of the schema.
A release that adds a migration adds a dump (`make`); none is ever edited.
"""

from __future__ import annotations

import asyncio
from itertools import count
from pathlib import Path

import pytest

from penstock.query import Reader
from penstock.stores.postgres import PostgresStore, open_sql
from penstock.stores.postgres.schema import MIGRATIONS
from penstock.wire.ids import id_from_key
from penstock.wire.records import LogEvent
from tests.conformance.postgres_server import Schema
from tests.upgrade.earlier import OLD, check_search, check_state, dumps, load_postgres


def test_every_migration_has_a_dump() -> None:
    assert [dump.stem for dump in dumps("postgres")] == [f"postgres_{each.number:04}" for each in MIGRATIONS]


@pytest.mark.parametrize("dump", dumps("postgres"), ids=lambda dump: dump.stem)
async def test_a_database_of_an_earlier_release_is_read_and_written(dump: Path, schema: Schema) -> None:
    store = open_sql(load_postgres(dump, schema))
    await store.setup()

    new = [OLD, OLD._replace(id=id_from_key("new"), created_at_us=OLD.created_at_us + 9)]
    written = await store.write([*new, LogEvent(id_from_key("l0"), 1, 20, "again")])
    async with Reader.open(sql=store) as reader:
        messages, session, logs = await reader.messages("s"), await reader.session("s"), await reader.logs()
    await store.close()

    assert written == 1
    assert [each.content for each in messages] == ["from long ago 👩‍🚀"] * 2
    assert session is not None
    assert session.message_count == 2
    assert [each.event for each in logs] == ["started"]


async def test_a_migration_may_take_longer_than_any_other_statement(schema: Schema) -> None:
    """As that of a large table does, whose indexes are made anew."""
    store = open_sql(f"{load_postgres(dumps('postgres')[0], schema)}&timeout=1")
    schema.execute(
        f"""CREATE FUNCTION dawdle() RETURNS event_trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_sleep(1.5) WHERE current_schema() = '{schema.name}'; END $$""",
        f"""CREATE EVENT TRIGGER dawdle_{schema.name} ON ddl_command_start WHEN TAG IN ('DROP INDEX')
        EXECUTE FUNCTION dawdle()""",
    )
    try:
        await store.setup()

        assert (await store.schema()).pending == []
    finally:
        await store.close()
        schema.execute(f"DROP EVENT TRIGGER dawdle_{schema.name}")


async def test_a_database_is_migrated_beside_workers_that_write(schema: Schema) -> None:
    """Workers of this release that leave the schema to somebody else."""
    url = load_postgres(dumps("postgres")[0], schema)
    workers, migrating = [open_sql(url) for _ in range(4)], open_sql(url)
    writing, is_migrated = asyncio.Barrier(len(workers) + 1), asyncio.Event()
    written: list[bytes] = []

    async def write(worker: int, store: PostgresStore) -> None:
        await store.setup(migrate=False)
        for number in count():
            message_id = id_from_key(f"{worker} {number}")
            await store.write([OLD._replace(id=message_id, session_id=f"s{worker}")])
            written.append(message_id)
            if number == 10:
                await writing.wait()
            if is_migrated.is_set():
                return

    async with asyncio.TaskGroup() as group:
        for worker, store in enumerate(workers):
            group.create_task(write(worker, store))
        assert len((await migrating.schema()).pending) == len(MIGRATIONS) - 1  # it is connected by now
        await writing.wait()
        await migrating.setup()
        is_migrated.set()

    assert (await migrating.schema()).pending == []
    assert {each.id for each in schema.messages()} == {OLD.id, *written}
    for store in (*workers, migrating):
        await store.close()


@pytest.mark.parametrize("dump", dumps("postgres")[1:], ids=lambda dump: dump.stem)
async def test_state_of_an_earlier_release_is_read_and_kept(dump: Path, schema: Schema) -> None:
    store = open_sql(load_postgres(dump, schema))
    await store.setup()
    try:
        await check_state(store)
    finally:
        await store.close()


@pytest.mark.parametrize("dump", dumps("postgres"), ids=lambda dump: dump.stem)
async def test_messages_of_an_earlier_release_are_found_by_their_words(dump: Path, schema: Schema) -> None:
    store = open_sql(load_postgres(dump, schema))
    await store.setup()
    try:
        await check_search(store)
    finally:
        await store.close()
