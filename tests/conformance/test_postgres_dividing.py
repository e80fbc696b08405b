"""A PostgreSQL database comes to level 2: new, or divided while others write; and is opened at either level."""

from __future__ import annotations

import asyncio
import hashlib
import multiprocessing
from collections.abc import AsyncIterator, Iterable
from multiprocessing.synchronize import Event
from typing import Any

import pytest
import structlog

from penstock.stores import BadStoreURL, StoreRejected, StoreUnavailable
from penstock.stores.postgres import PostgresStore, open_sql
from penstock.stores.queries import MessageQuery
from penstock.testing.conformance.records import chunk, log, message
from penstock.wire.ids import wall_clock_us
from tests.conformance.postgres_partitions import DAY_US, months, parts, timed_log, timed_message
from tests.conformance.postgres_server import Postgres, Schema


@pytest.fixture
async def store(schema: Schema) -> AsyncIterator[PostgresStore]:
    store = open_sql(schema.url + "&level=2")
    await store.setup()
    yield store
    await store.close()


# A new database


async def test_a_new_database_has_partitions_from_last_month_to_two_ahead(store: PostgresStore, schema: Schema) -> None:
    for table in ("messages", "logs"):
        assert list(parts(schema, table)) == [*months(table, -1, 0, 1, 2), f"{table}_default"]

    await store.setup()
    report = await store.keep_partitions(wall_clock_us())

    assert (report.level, report.made) == (2, [])


async def test_rows_lie_in_the_partition_of_their_ids(store: PostgresStore, schema: Schema) -> None:
    now_us = wall_clock_us()

    await store.write([timed_message(now_us, 1), timed_message(now_us, 2), message(0), timed_log(now_us), log(0)])

    this_month, default = months("messages", 0)[0], "messages_default"
    assert {name: rows for name, rows in parts(schema).items() if rows} == {this_month: 2, default: 1}
    assert {rows for rows in parts(schema, "logs").values() if rows} == {1}
    assert await store.count_messages(MessageQuery(session_id="s")) == 3


async def test_large_batches_are_copied_into_their_partitions(store: PostgresStore, schema: Schema) -> None:
    logs = [timed_log(wall_clock_us(), number) for number in range(2_500)]

    assert [await store.write(logs), await store.write([*logs, log(1)])] == [2_500, 1]
    assert parts(schema, "logs")[months("logs", 0)[0]] == 2_500


def test_processes_that_race_for_level_2_all_succeed(schema: Schema) -> None:
    context = multiprocessing.get_context("spawn")
    racers = [context.Process(target=_set_up, args=(f"{schema.url}&level={1 + n % 2}",)) for n in range(4)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()

    assert [racer.exitcode for racer in racers] == [0] * 4
    assert list(parts(schema)) == [*months("messages", -1, 0, 1, 2), "messages_default"]


def _set_up(url: str) -> None:
    async def main() -> None:
        store = open_sql(url)
        await store.setup()
        await store.close()

    asyncio.run(main())


# From level 1 to level 2


def _checksum(rows: Iterable[Any]) -> str:
    return hashlib.sha256(repr(sorted(rows)).encode()).hexdigest()


def _everything(schema: Schema) -> list[tuple[str, int, str]]:
    tables = ("messages", "logs", "chunks", "sessions", "tombstones")
    found = {table: schema.rows(f"SELECT t::text FROM {table} AS t") for table in tables}
    return [(table, len(rows), _checksum(rows)) for table, rows in found.items()]


async def test_a_database_of_level_1_is_divided_without_loss_while_another_process_writes(schema: Schema) -> None:
    now_us = wall_clock_us()
    former = open_sql(schema.url)
    await former.setup()
    own = [message(number, f"s{number % 50}") for number in range(5_000)]
    timed = [
        timed_message(now_us - 400 * DAY_US + number * DAY_US // 40, number, f"s{number % 50}")
        for number in range(15_000)
    ]
    deleted = [each._replace(deleted_at_us=now_us) for each in (*own[::9], *timed[::9])]
    kept = [*own, *timed]
    await former.write([*deleted, *kept, *(chunk(number) for number in range(500))])
    await former.write(
        [*(log(number) for number in range(1_000)), *(timed_log(now_us, number) for number in range(4_000))]
    )
    before = _everything(schema)
    context = multiprocessing.get_context("spawn")
    begun, stop = context.Event(), context.Event()
    writer = context.Process(target=_write_on, args=(schema.url, begun, stop))
    writer.start()
    await asyncio.to_thread(begun.wait, 30)

    divided = open_sql(schema.url + "&level=2")
    await divided.setup()
    await asyncio.to_thread(stop.set)
    await asyncio.to_thread(writer.join)

    assert writer.exitcode == 0
    meanwhile = schema.rows(
        """SELECT count(*), min(message_count) FROM messages AS m JOIN sessions AS s ON s.id = m.session_id
        WHERE s.id = 'meanwhile'"""
    )
    assert meanwhile[0][0] == meanwhile[0][1] > 0
    schema.execute(
        "DELETE FROM messages WHERE session_id = 'meanwhile'",
        "DELETE FROM sessions WHERE id = 'meanwhile'",
        "DELETE FROM logs WHERE event = 'meanwhile'",
    )
    assert _everything(schema) == before
    divided_into = parts(schema)
    assert list(divided_into) == ["messages_19700101", *months("messages", 1, 2), "messages_default"]
    assert divided_into["messages_19700101"] >= 15_000
    assert 4_800 < divided_into["messages_default"] <= 5_000
    assert await divided.write([*own, *timed]) == 0
    await former.close()
    await divided.close()


def _write_on(url: str, begun: Event, stop: Event) -> None:
    """Write until told to stop, through prepared statements that know the former tables. Any error ends it."""

    async def main() -> None:
        store = open_sql(url)
        number = 0
        while not stop.is_set():
            at_us = wall_clock_us()
            batch = [timed_message(at_us, number + each, "meanwhile") for each in range(20)]
            logs = [timed_log(at_us, number + each)._replace(event="meanwhile") for each in range(1_000)]
            assert await store.write([*batch, *logs]) == 1_020
            assert len(await store.messages(MessageQuery(session_id="meanwhile", limit=20, ascending=False))) == 20
            number += 1_000
            if number > 8_000:  # by now the server keeps plans
                begun.set()
        await store.write([timed_message(wall_clock_us(), number, "meanwhile")])
        await store.close()

    asyncio.run(main())


def _indexes(schema: Schema) -> list[tuple[Any, ...]]:
    return schema.rows(
        """SELECT indexname, replace(replace(indexdef, ' ONLY ', ' '), schemaname, '') FROM pg_indexes
        WHERE schemaname = $1 AND tablename IN ('messages', 'logs') ORDER BY 1""",
        schema.name,
    )


async def test_the_divided_tables_have_the_same_indexes_constraints_and_grants(
    schema: Schema, postgres: Postgres
) -> None:
    former = open_sql(schema.url)
    await former.setup()
    await former.write([message(0)])
    role = f"{schema.name}_writer"
    postgres.execute(
        f"CREATE ROLE {role} LOGIN",
        f"GRANT USAGE ON SCHEMA {schema.name} TO {role}",
        f"GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA {schema.name} TO {role}",
    )
    indexes = _indexes(schema)
    constraints = "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'messages'::regclass"
    constrained = schema.rows(constraints)

    divided = open_sql(schema.url + "&level=2")
    await divided.setup()

    assert _indexes(schema) == indexes
    assert sorted(schema.rows(constraints)) == sorted(constrained)
    invalid = """SELECT relname FROM pg_index JOIN pg_class AS c ON c.oid = indexrelid
        WHERE NOT indisvalid AND relnamespace = $1::text::regnamespace"""
    assert schema.rows(invalid, schema.name) == []
    # A role that may only write rows goes on, and says that it cannot make partitions where some are missing.
    schema.execute(f"DROP TABLE {months('messages', 2)[0]}")
    writer = open_sql(schema.url.replace("postgres:@", f"{role}:@") + "&level=2")
    with structlog.testing.capture_logs() as lines:
        await writer.setup()
    assert await writer.write([timed_message(wall_clock_us()), log(0)]) == 2
    assert [line["event"] for line in lines] == ["partitions_not_made"]
    for each in (former, divided, writer):
        await each.close()
    postgres.execute(f"DROP OWNED BY {role}", f"DROP ROLE {role}")


async def test_what_level_2_would_do_waits_like_a_migration(schema: Schema) -> None:
    plain, divided = open_sql(schema.url), open_sql(schema.url + "&level=2")
    try:
        await plain.setup()
        before = await divided.schema()
        await divided.setup()

        assert (before.found, before.pending) == (before.newest, ["level 2: messages and logs in partitions"])
        assert [(await store.schema()).pending for store in (plain, divided)] == [[], []]
    finally:
        await plain.close()
        await divided.close()


async def test_what_hangs_on_a_table_is_named_before_anything_happens(schema: Schema) -> None:
    former = open_sql(schema.url)
    await former.setup()
    await former.write([message(0)])
    schema.execute("CREATE VIEW recent AS SELECT id FROM messages")
    divided = open_sql(schema.url + "&level=2")

    with pytest.raises(StoreRejected, match="messages cannot go to level 2 with what hangs on it: view recent"):
        await divided.setup()
    assert schema.messages() == [message(0)]
    schema.execute("DROP VIEW recent")
    await divided.setup()
    assert schema.messages() == [message(0)]
    await former.close()
    await divided.close()


async def test_a_table_that_others_hold_is_waited_for_and_then_unavailable(schema: Schema) -> None:
    former = open_sql(schema.url)
    await former.setup()
    await former.close()
    divided = open_sql(schema.url + "&level=2&timeout=1")
    schema.execute("BEGIN", f"SELECT FROM {schema.name}.messages")

    with pytest.raises(StoreUnavailable):
        await divided.setup()
    schema.execute("COMMIT")
    await divided.setup()
    assert list(parts(schema))[-1] == "messages_default"
    await divided.close()


async def test_a_divided_database_opened_at_level_1_stays_divided_and_says_so_once(
    store: PostgresStore, schema: Schema
) -> None:
    plain = open_sql(schema.url)
    with structlog.testing.capture_logs() as lines:
        await plain.setup()
        await plain.setup()

    assert [line["event"] for line in lines] == ["database_has_level_2"]
    assert await plain.write([timed_message(wall_clock_us())]) == 1
    assert parts(schema)[months("messages", 0)[0]] == 1
    assert (await plain.keep_partitions(wall_clock_us())).level == 2
    await plain.close()


async def test_a_database_of_level_1_has_no_partitions_to_keep(schema: Schema) -> None:
    plain = open_sql(schema.url)
    await plain.setup()

    report = await plain.keep_partitions(wall_clock_us())

    assert (report.level, report.made, report.outside) == (1, [], {})
    await plain.close()


# Plans


@pytest.mark.parametrize(
    ("options", "mode"), [("", "force_generic_plan"), ("plain", "auto"), ("&statement_cache_size=0", "auto")]
)
async def test_a_connection_to_partitions_keeps_its_plans(
    store: PostgresStore, schema: Schema, options: str, mode: str
) -> None:
    """Whatever level the URL names, as a reader's does not; not where the database is plain, or no plan is kept."""
    if options == "plain":
        schema.execute("DROP TABLE messages", "CREATE TABLE messages (id uuid)")
    reader = open_sql(schema.url + options.removeprefix("plain"))

    async with reader._pool.connection() as connection:
        assert await connection.fetchval("SHOW plan_cache_mode") == mode
    await reader.close()


# URLs


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ("level=3", r"level is 3; 1 \(plain tables\) and 2"),
        ("level=two", "a whole number"),
        ("level=2&period=year", "period is 'year'; day, week, month"),
    ],
)
def test_a_level_or_period_that_is_none_is_refused(options: str, complaint: str) -> None:
    with pytest.raises(BadStoreURL, match=complaint):
        open_sql(f"postgresql://h/db?{options}")
