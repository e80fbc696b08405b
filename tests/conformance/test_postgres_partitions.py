"""Partitions of a PostgreSQL database at level 2: how it gets them, how they are kept, what goes with them."""

from __future__ import annotations

import asyncio
import hashlib
import multiprocessing
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from multiprocessing.synchronize import Event
from typing import Any

import pytest
import structlog

from penstock.stores import StoreRejected, StoreUnavailable
from penstock.stores.postgres import PostgresStore, open_sql
from penstock.stores.queries import MessageQuery
from penstock.wire.ids import wall_clock_us
from penstock.wire.records import LogEvent, Message
from tests.conformance.postgres_server import Postgres, Schema
from tests.conformance.sql_records import chunk, counted, log, message

DAY_US = 86_400_000_000


@pytest.fixture
async def store(schema: Schema) -> AsyncIterator[PostgresStore]:
    store = open_sql(schema.url + "&level=2")
    await store.setup()
    yield store
    await store.close()


def _us(year: int, month: int, day: int = 1) -> int:
    return int(datetime(year, month, day, tzinfo=UTC).timestamp()) * 1_000_000


def _id(at_us: int, number: int) -> bytes:
    """What a producer makes at that time: a UUIDv7."""
    return ((at_us // 1000 << 80) | (7 << 76) | (2 << 62) | number).to_bytes(16, "big")


def _message(at_us: int, number: int = 0, session: str = "s") -> Message:
    return Message(_id(at_us, number), at_us, session, "user", f"text {number}")


def _log(at_us: int, number: int = 0) -> LogEvent:
    return LogEvent(_id(at_us, number), at_us, 20, "step")


def _parts(schema: Schema, table: str = "messages") -> dict[str, int]:
    """The partitions with the number of their rows."""
    names = schema.rows("SELECT relid::regclass::text FROM pg_partition_tree($1::text::regclass) WHERE isleaf", table)
    return {name: schema.rows(f"SELECT count(*) FROM {name}")[0][0] for (name,) in sorted(names)}


def _months(table: str, *months: int) -> list[str]:
    """Names of this month's partition and of those so many months away."""
    now = datetime.now(UTC)
    at = [now.year * 12 + now.month - 1 + month for month in months]
    return [f"{table}_{month // 12}{month % 12 + 1:02}01" for month in at]


# A new database


async def test_a_new_database_has_partitions_from_last_month_to_two_ahead(store: PostgresStore, schema: Schema) -> None:
    for table in ("messages", "logs"):
        assert list(_parts(schema, table)) == [*_months(table, -1, 0, 1, 2), f"{table}_default"]

    await store.setup()
    report = await store.keep_partitions(wall_clock_us())

    assert (report.level, report.made) == (2, [])


async def test_rows_lie_in_the_partition_of_their_ids(store: PostgresStore, schema: Schema) -> None:
    now_us = wall_clock_us()

    await store.write([_message(now_us, 1), _message(now_us, 2), message(0), _log(now_us), log(0)])

    this_month, default = _months("messages", 0)[0], "messages_default"
    assert {name: rows for name, rows in _parts(schema).items() if rows} == {this_month: 2, default: 1}
    assert {rows for rows in _parts(schema, "logs").values() if rows} == {1}
    assert await store.count_messages(MessageQuery(session_id="s")) == 3


async def test_large_batches_are_copied_into_their_partitions(store: PostgresStore, schema: Schema) -> None:
    logs = [_log(wall_clock_us(), number) for number in range(2_500)]

    assert [await store.write(logs), await store.write([*logs, log(1)])] == [2_500, 1]
    assert _parts(schema, "logs")[_months("logs", 0)[0]] == 2_500


def test_processes_that_race_for_level_2_all_succeed(schema: Schema) -> None:
    context = multiprocessing.get_context("spawn")
    racers = [context.Process(target=_set_up, args=(f"{schema.url}&level={1 + n % 2}",)) for n in range(4)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()

    assert [racer.exitcode for racer in racers] == [0] * 4
    assert list(_parts(schema)) == [*_months("messages", -1, 0, 1, 2), "messages_default"]


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
        _message(now_us - 400 * DAY_US + number * DAY_US // 40, number, f"s{number % 50}") for number in range(15_000)
    ]
    deleted = [each._replace(deleted_at_us=now_us) for each in (*own[::9], *timed[::9])]
    kept = [*own, *timed]
    await former.write([*deleted, *kept, *(chunk(number) for number in range(500))])
    await former.write([*(log(number) for number in range(1_000)), *(_log(now_us, number) for number in range(4_000))])
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
    parts = _parts(schema)
    assert list(parts) == ["messages_19700101", *_months("messages", 1, 2), "messages_default"]
    assert parts["messages_19700101"] >= 15_000
    assert 4_800 < parts["messages_default"] <= 5_000
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
            batch = [_message(at_us, number + each, "meanwhile") for each in range(20)]
            logs = [_log(at_us, number + each)._replace(event="meanwhile") for each in range(1_000)]
            assert await store.write([*batch, *logs]) == 1_020
            assert len(await store.messages(MessageQuery(session_id="meanwhile", limit=20, ascending=False))) == 20
            number += 1_000
            if number > 8_000:  # by now the server keeps plans
                begun.set()
        await store.write([_message(wall_clock_us(), number, "meanwhile")])
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
    schema.execute(f"DROP TABLE {_months('messages', 2)[0]}")
    writer = open_sql(schema.url.replace("postgres:@", f"{role}:@") + "&level=2")
    with structlog.testing.capture_logs() as lines:
        await writer.setup()
    assert await writer.write([_message(wall_clock_us()), log(0)]) == 2
    assert [line["event"] for line in lines] == ["partitions_not_made"]
    for each in (former, divided, writer):
        await each.close()
    postgres.execute(f"DROP OWNED BY {role}", f"DROP ROLE {role}")


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
    assert list(_parts(schema))[-1] == "messages_default"
    await divided.close()


async def test_a_divided_database_opened_at_level_1_stays_divided_and_says_so_once(
    store: PostgresStore, schema: Schema
) -> None:
    plain = open_sql(schema.url)
    with structlog.testing.capture_logs() as lines:
        await plain.setup()
        await plain.setup()

    assert [line["event"] for line in lines] == ["database_has_level_2"]
    assert await plain.write([_message(wall_clock_us())]) == 1
    assert _parts(schema)[_months("messages", 0)[0]] == 1
    assert (await plain.keep_partitions(wall_clock_us())).level == 2
    await plain.close()


async def test_a_database_of_level_1_has_no_partitions_to_keep(schema: Schema) -> None:
    plain = open_sql(schema.url)
    await plain.setup()

    report = await plain.keep_partitions(wall_clock_us())

    assert (report.level, report.made, report.outside) == (1, [], {})
    await plain.close()


# Keeping partitions


async def test_partitions_are_made_ahead_once_by_however_many(store: PostgresStore, schema: Schema) -> None:
    other = open_sql(schema.url + "&level=2")
    now_us = _us(2100, 5, 17)

    reports = await asyncio.gather(*(each.keep_partitions(now_us) for each in (store, other) * 3))

    made = sorted(name for report in reports for name in report.made)
    assert made == [f"{table}_2100{month}01" for table in ("logs", "messages") for month in ("05", "06", "07")]
    assert (await store.keep_partitions(_us(2100, 6, 1))).made == ["messages_21000801", "logs_21000801"]
    await other.close()


async def test_months_that_nobody_made_are_made_later_and_get_their_rows(store: PostgresStore, schema: Schema) -> None:
    await store.keep_partitions(_us(2100, 5, 17))
    rows = [_message(_us(2100, month, 3), month) for month in (7, 8, 9, 10)]
    await store.write(rows)
    assert (await store.keep_partitions(_us(2100, 5, 17))).outside["messages"].by_time == 3

    report = await store.keep_partitions(_us(2100, 10, 5))

    assert report.made[:5] == [f"messages_2100{month}01" for month in ("08", "09", "10", "11", "12")]
    assert report.outside["messages"] == (0, 0)
    filled = {name: count for name, count in _parts(schema).items() if count}
    assert filled == {f"messages_2100{month}01": 1 for month in ("07", "08", "09", "10")}
    assert await store.write(rows) == 0


async def test_a_partition_is_made_while_others_write_and_read(store: PostgresStore, schema: Schema) -> None:
    done = asyncio.Event()

    async def write(writer: int) -> int:
        number = 0
        while not done.is_set():
            fresh = [_message(_us(2100, 1 + number % 12, 3), writer * 100_000 + number + each) for each in range(20)]
            await store.write([*fresh, message(writer * 100_000 + number)])
            await store.messages(MessageQuery(session_id="s", limit=5))
            number += 20
        return number // 20 * 21

    writes = [asyncio.create_task(write(writer)) for writer in range(3)]
    made = [await store.keep_partitions(_us(2100, month)) for month in range(1, 11)]
    done.set()
    written = sum(await asyncio.gather(*writes))

    assert sum(len(each.made) for each in made) == 24
    assert await store.count_messages(MessageQuery()) == written
    assert schema.counts() == counted(schema.messages())


async def test_a_clock_far_in_the_future_is_told_and_loses_nothing(store: PostgresStore, schema: Schema) -> None:
    ahead = [_message(_us(2400, 1), 1), _message(_us(9999, 12, 31), 2)]
    await store.write([*ahead, message(0), _log(_us(2400, 1))])

    with structlog.testing.capture_logs() as lines:
        report = await store.keep_partitions(wall_clock_us())

    assert report.outside == {"messages": (2, 1), "logs": (1, 0)}
    told = [(line["event"], line["log_level"], line["table"], line["rows"], line["of_own_keys"]) for line in lines]
    assert told == [
        ("rows_outside_partitions", "warning", "messages", 2, 1),
        ("rows_outside_partitions", "warning", "logs", 1, 0),
    ]
    assert sorted(schema.messages()) == sorted([*ahead, message(0)])


async def test_upkeep_by_a_clock_far_in_the_future_makes_few_partitions_and_no_harm(
    store: PostgresStore, schema: Schema
) -> None:
    before = len(_parts(schema))

    assert len((await store.keep_partitions(_us(2400, 1))).made) == 6
    assert (await store.keep_partitions(wall_clock_us())).made == []
    assert len(_parts(schema)) == before + 3
    with pytest.raises(ValueError, match="look at the clock"):
        await store.keep_partitions(_us(9998, 1))
    with pytest.raises(ValueError, match="look at the clock"):
        await store.keep_partitions(-1)


async def test_another_period_holds_for_partitions_made_later(store: PostgresStore, schema: Schema) -> None:
    await store.keep_partitions(_us(2100, 5, 17))
    daily = open_sql(schema.url + "&level=2&period=day")
    weekly = open_sql(schema.url + "&level=2&period=week")

    assert (await daily.keep_partitions(_us(2100, 7, 30))).made[:2] == ["messages_21000801", "logs_21000801"]
    assert (await weekly.keep_partitions(_us(2100, 7, 30))).made[:2] == ["messages_21000802", "messages_21000809"]
    # The first week began in July, whose partition is there; a day of August is there too.
    assert (await store.keep_partitions(_us(2100, 8, 2))).made[:2] == ["messages_21000816", "messages_21000901"]
    await daily.close()
    await weekly.close()


# Dropping what is old


@pytest.fixture
async def old(store: PostgresStore) -> list[Message]:
    """A message for each of twelve months of 2020, in a partition each, and one of an own key for each."""
    await store.keep_partitions(_us(2020, 1))
    await store.keep_partitions(_us(2020, 12))
    timed = [_message(_us(2020, month, 7), month) for month in range(1, 13)]
    own = [message(month)._replace(created_at_us=_us(2020, month, 7)) for month in range(1, 13)]
    await store.write([*timed, *own, *(_log(_us(2020, month, 7), month) for month in range(1, 13))])
    return [*timed, *own]


async def test_retention_drops_exactly_the_old_partitions_and_the_old_rows_of_the_default_one(
    store: PostgresStore, schema: Schema, old: list[Message]
) -> None:
    before = list(_parts(schema))

    dropped = await store.drop_before("messages", _us(2020, 6, 10))

    months = [f"messages_2020{month:02}01" for month in range(1, 6)]
    assert dropped == (months, 0, 6)
    assert list(_parts(schema)) == [name for name in before if name not in months]
    # The message of the 7th of June stays: its partition is not over yet. That of an own key is gone.
    kept = [each for each in old[:12] if each.created_at_us >= _us(2020, 6)]
    kept += [each for each in old[12:] if each.created_at_us >= _us(2020, 6, 10)]
    assert sorted(schema.messages()) == sorted(kept)
    assert len(schema.logs()) == 12
    assert await store.drop_before("messages", _us(2020, 6, 10)) == ([], 0, 0)


async def test_a_row_that_is_younger_than_its_partition_is_kept(
    store: PostgresStore, schema: Schema, old: list[Message]
) -> None:
    younger = _message(_us(2020, 2, 1), 99)._replace(created_at_us=_us(2020, 11, 1))
    await store.write([younger])

    dropped = await store.drop_before("messages", _us(2020, 10, 1))

    assert (len(dropped.partitions), dropped.kept) == (9, 1)
    assert younger in schema.messages()
    assert min(each.created_at_us for each in schema.messages()) >= _us(2020, 10)
    assert await store.write([younger]) == 0


async def test_retention_by_however_many_at_once_while_others_write_loses_nothing_else(
    store: PostgresStore, schema: Schema, old: list[Message]
) -> None:
    now_us = wall_clock_us()
    other = open_sql(schema.url + "&level=2")
    batches = [[_message(now_us, at + number) for number in range(50)] for at in range(0, 2_000, 50)]

    *dropped, written = await asyncio.gather(
        store.drop_before("messages", _us(2021, 1)),
        other.drop_before("messages", _us(2021, 1)),
        _write_all(other, batches),
    )

    assert sorted(name for each in dropped for name in each.partitions) == [
        f"messages_2020{m:02}01" for m in range(1, 13)
    ]
    assert written == 2_000
    assert len(schema.messages()) == 2_000
    await other.close()


async def _write_all(store: PostgresStore, batches: list[list[Message]]) -> int:
    return sum([await store.write(batch) for batch in batches])


@pytest.mark.parametrize("level", [1, 2])
async def test_rows_outside_of_partitions_are_deleted_in_slices(schema: Schema, level: int) -> None:
    store = open_sql(f"{schema.url}&level={level}")
    await store.setup()
    await store.write([log(number)._replace(created_at_us=_us(2020, 1) + number) for number in range(12_000)])

    assert await store.drop_before("logs", _us(2020, 1) + 11_000) == ([], 0, 11_000)
    assert [each.created_at_us - _us(2020, 1) for each in schema.logs()] == list(range(11_000, 12_000))
    await store.close()


async def test_a_bound_ahead_of_the_servers_clock_drops_nothing(
    store: PostgresStore, schema: Schema, old: list[Message]
) -> None:
    with pytest.raises(ValueError, match="after the server's clock"):
        await store.drop_before("messages", wall_clock_us() + DAY_US)

    assert len(schema.messages()) == 24
