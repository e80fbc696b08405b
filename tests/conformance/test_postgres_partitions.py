"""Partitions of a PostgreSQL database at level 2: how they are kept, and what goes with them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import structlog

from penstock.stores.postgres import PostgresStore, open_sql
from penstock.stores.postgres.partitions import past
from penstock.stores.queries import MessageQuery
from penstock.testing.conformance.records import counted, log, message
from penstock.wire.ids import wall_clock_us
from penstock.wire.records import Message
from tests.conformance.postgres_partitions import DAY_US, at, parts, timed_log, timed_message
from tests.conformance.postgres_server import Schema


@pytest.fixture
async def store(schema: Schema) -> AsyncIterator[PostgresStore]:
    store = open_sql(schema.url + "&level=2")
    await store.setup()
    yield store
    await store.close()


# Keeping partitions


async def test_partitions_are_made_ahead_once_by_however_many(store: PostgresStore, schema: Schema) -> None:
    other = open_sql(schema.url + "&level=2")
    now_us = at(2100, 5, 17)

    reports = await asyncio.gather(*(each.keep_partitions(now_us) for each in (store, other) * 3))

    made = sorted(name for report in reports for name in report.made)
    assert made == [f"{table}_2100{month}01" for table in ("logs", "messages") for month in ("05", "06", "07")]
    assert (await store.keep_partitions(at(2100, 6, 1))).made == ["messages_21000801", "logs_21000801"]
    await other.close()


async def test_months_that_nobody_made_are_made_later_and_get_their_rows(store: PostgresStore, schema: Schema) -> None:
    await store.keep_partitions(at(2100, 5, 17))
    rows = [timed_message(at(2100, month, 3), month) for month in (7, 8, 9, 10)]
    await store.write(rows)
    assert (await store.keep_partitions(at(2100, 5, 17))).outside["messages"].by_time == 3

    report = await store.keep_partitions(at(2100, 10, 5))

    assert report.made[:5] == [f"messages_2100{month}01" for month in ("08", "09", "10", "11", "12")]
    assert report.outside["messages"] == (0, 0)
    filled = {name: count for name, count in parts(schema).items() if count}
    assert filled == {f"messages_2100{month}01": 1 for month in ("07", "08", "09", "10")}
    assert await store.write(rows) == 0


async def test_a_partition_is_made_while_others_write_and_read(store: PostgresStore, schema: Schema) -> None:
    done = asyncio.Event()

    async def write(writer: int) -> int:
        number = 0
        while not done.is_set():
            fresh = [
                timed_message(at(2100, 1 + number % 12, 3), writer * 100_000 + number + each) for each in range(20)
            ]
            await store.write([*fresh, message(writer * 100_000 + number)])
            await store.messages(MessageQuery(session_id="s", limit=5))
            number += 20
        return number // 20 * 21

    writes = [asyncio.create_task(write(writer)) for writer in range(3)]
    made = [await store.keep_partitions(at(2100, month)) for month in range(1, 11)]
    done.set()
    written = sum(await asyncio.gather(*writes))

    assert sum(len(each.made) for each in made) == 24
    assert await store.count_messages(MessageQuery()) == written
    assert schema.counts() == counted(schema.messages())


async def test_a_clock_far_in_the_future_is_told_and_loses_nothing(store: PostgresStore, schema: Schema) -> None:
    ahead = [timed_message(at(2400, 1), 1), timed_message(at(9999, 12, 31), 2)]
    await store.write([*ahead, message(0), timed_log(at(2400, 1))])

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
    before = len(parts(schema))

    assert len((await store.keep_partitions(at(2400, 1))).made) == 6
    assert (await store.keep_partitions(wall_clock_us())).made == []
    assert len(parts(schema)) == before + 3
    with pytest.raises(ValueError, match="look at the clock"):
        await store.keep_partitions(at(9998, 1))
    with pytest.raises(ValueError, match="look at the clock"):
        await store.keep_partitions(-1)


async def test_another_period_holds_for_partitions_made_later(store: PostgresStore, schema: Schema) -> None:
    await store.keep_partitions(at(2100, 5, 17))
    daily = open_sql(schema.url + "&level=2&period=day")
    weekly = open_sql(schema.url + "&level=2&period=week")

    assert (await daily.keep_partitions(at(2100, 7, 30))).made[:2] == ["messages_21000801", "logs_21000801"]
    assert (await weekly.keep_partitions(at(2100, 7, 30))).made[:2] == ["messages_21000802", "messages_21000809"]
    # The first week began in July, whose partition is there; a day of August is there too.
    assert (await store.keep_partitions(at(2100, 8, 2))).made[:2] == ["messages_21000816", "messages_21000901"]
    await daily.close()
    await weekly.close()


# Dropping what is old


@pytest.fixture
async def old(store: PostgresStore) -> list[Message]:
    """A message for each of twelve months of 2020, in a partition each, and one of an own key for each."""
    await store.keep_partitions(at(2020, 1))
    await store.keep_partitions(at(2020, 12))
    timed = [timed_message(at(2020, month, 7), month) for month in range(1, 13)]
    own = [message(month)._replace(created_at_us=at(2020, month, 7)) for month in range(1, 13)]
    await store.write([*timed, *own, *(timed_log(at(2020, month, 7), month) for month in range(1, 13))])
    return [*timed, *own]


async def test_retention_drops_exactly_the_old_partitions_and_the_old_rows_of_the_default_one(
    store: PostgresStore, schema: Schema, old: list[Message]
) -> None:
    before = list(parts(schema))

    dropped = await store.drop_before("messages", at(2020, 6, 10))

    months = [f"messages_2020{month:02}01" for month in range(1, 6)]
    assert dropped == (months, 0, 6)
    assert list(parts(schema)) == [name for name in before if name not in months]
    # The message of the 7th of June stays: its partition is not over yet. That of an own key is gone.
    kept = [each for each in old[:12] if each.created_at_us >= at(2020, 6)]
    kept += [each for each in old[12:] if each.created_at_us >= at(2020, 6, 10)]
    assert sorted(schema.messages()) == sorted(kept)
    assert len(schema.logs()) == 12
    assert await store.drop_before("messages", at(2020, 6, 10)) == ([], 0, 0)


async def test_a_row_that_is_younger_than_its_partition_is_kept(
    store: PostgresStore, schema: Schema, old: list[Message]
) -> None:
    younger = timed_message(at(2020, 2, 1), 99)._replace(created_at_us=at(2020, 11, 1))
    await store.write([younger])

    dropped = await store.drop_before("messages", at(2020, 10, 1))

    assert (len(dropped.partitions), dropped.kept) == (9, 1)
    assert younger in schema.messages()
    assert min(each.created_at_us for each in schema.messages()) >= at(2020, 10)
    assert await store.write([younger]) == 0


async def test_a_partition_that_goes_while_they_are_listed_is_not_among_them(
    store: PostgresStore, schema: Schema
) -> None:
    """The server lists what its snapshot shows, and shows no bounds of what is gone by then."""
    async with store._pool.connection() as connection, connection.transaction(isolation="repeatable_read"):
        listed = await past(connection, "messages", at(9997, 1))

        schema.execute(f"DROP TABLE {listed[-1]}")

        assert await past(connection, "messages", at(9997, 1)) == listed[:-1]


async def test_retention_by_however_many_at_once_while_others_write_loses_nothing_else(
    store: PostgresStore, schema: Schema, old: list[Message]
) -> None:
    now_us = wall_clock_us()
    other = open_sql(schema.url + "&level=2")
    batches = [[timed_message(now_us, at + number) for number in range(50)] for at in range(0, 2_000, 50)]

    *dropped, written = await asyncio.gather(
        store.drop_before("messages", at(2021, 1)),
        other.drop_before("messages", at(2021, 1)),
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
    await store.write([log(number)._replace(created_at_us=at(2020, 1) + number) for number in range(12_000)])

    assert await store.drop_before("logs", at(2020, 1) + 11_000) == ([], 0, 11_000)
    assert [each.created_at_us - at(2020, 1) for each in schema.logs()] == list(range(11_000, 12_000))
    await store.close()


async def test_a_bound_ahead_of_the_servers_clock_drops_nothing(
    store: PostgresStore, schema: Schema, old: list[Message]
) -> None:
    with pytest.raises(ValueError, match="after the server's clock"):
        await store.drop_before("messages", wall_clock_us() + DAY_US)

    assert len(schema.messages()) == 24
