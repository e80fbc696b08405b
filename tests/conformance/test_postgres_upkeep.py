"""Upkeep of a PostgreSQL database: beside writers, through indexes, and by whole partitions."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from penstock.stores.errors import StoreUnavailable
from penstock.stores.postgres import PostgresStore, open_sql
from penstock.stores.postgres.partitions import Table
from penstock.stores.sqlfiles import statements
from penstock.testing.conformance.records import START_US, counted, log, message
from penstock.testing.conformance.state_records import FAR_US, forgotten, hidden
from penstock.wire.ids import id_from_key, wall_clock_us
from penstock.wire.records import LogEvent, Message, StreamChunk
from penstock.worker.settings import WorkerConfig
from penstock.worker.upkeep import Run
from tests.conformance.postgres_server import Schema
from tests.conformance.test_postgres_schema import _fill

DAY_US = 86_400_000_000
STEP_US = 60_000_000


@pytest.fixture
async def store(schema: Schema) -> AsyncIterator[PostgresStore]:
    store = open_sql(schema.url)
    await store.setup()
    yield store
    await store.close()


async def test_sessions_count_right_whoever_writes_and_deletes_meanwhile(store: PostgresStore, schema: Schema) -> None:
    """Old messages come back, new ones come, sessions are deleted and begun anew, by several at once."""
    rng = random.Random(7)
    numbers = list(range(600))
    await store.write([message(number, f"s{number % 5}") for number in numbers])

    async def write() -> None:
        for _ in range(25):
            await store.write([message(number, f"s{number % 5}") for number in rng.sample(range(900), 20)])

    async def delete() -> None:
        for at in range(15):
            number = rng.randrange(900)
            await store.write([hidden(at, number, f"s{number % 5}"), forgotten(rng.randrange(300), f"s{at % 5}")])

    async def remove() -> None:
        for _ in range(25):
            await store.remove_due("messages", START_US + 400, FAR_US, rng.randrange(1, 30))

    async with asyncio.TaskGroup() as group:
        for each in (write, write, delete, remove, remove):
            group.create_task(each())

    assert _live(schema) == _counts(schema)


def _live(schema: Schema) -> dict[str, object]:
    """What sessions must count. Who is deleted has its time, and is not counted."""
    stored = schema.messages()
    live = [each for each in stored if each.deleted_at_us is None]
    numbers = {session: each.messages for session, each in counted(live).items()}
    return {session: each._replace(messages=numbers.get(session, 0)) for session, each in counted(stored).items()}


def _counts(schema: Schema) -> dict[str, object]:
    return {**schema.counts()}


async def test_what_another_transaction_holds_stays_until_the_next_time(store: PostgresStore, schema: Schema) -> None:
    await store.write([log(0), log(1), message(0), message(1)])
    async with store._pool.connection() as other, other.transaction():
        for table in ("logs", "messages"):
            await other.execute(f"SELECT 1 FROM {table} WHERE created_at = $1 FOR UPDATE", START_US)
        gone = [await store.remove_due(kind, FAR_US, FAR_US, 10) for kind in ("logs", "messages")]
        assert gone == [1, 1]
        assert schema.logs() == [log(0)]
        assert schema.counts() == counted([message(0)])

    assert [await store.remove_due(kind, FAR_US, FAR_US, 10) for kind in ("logs", "messages")] == [1, 1]
    assert schema.counts() == {}


async def test_an_index_leads_to_all_that_goes(store: PostgresStore, schema: Schema) -> None:
    _fill(schema)
    pieces = statements("penstock.stores.postgres")
    values = {1: START_US, 2: 10, 3: START_US}
    plans = {}
    async with store._pool.connection() as connection:
        for name in _BY_TIME:
            sql = pieces[name]
            given = [values[place] for place in values if f"${place}" in sql]
            plans[name] = "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {sql}", *given))

    assert {name: plan for name, plan in plans.items() if "Seq Scan" in plan} == {}


_BY_TIME = [
    *(f"remove_due_{kind}" for kind in ("contexts", "key_values", "tasks", "logs")),
    *(f"remove_deleted_{table}" for table in ("tasks", "agent_states", "contexts", "key_values")),
    "due_messages",
]


# Level 2

FIRST_US = wall_clock_us() // DAY_US * DAY_US


@pytest.fixture
async def divided(schema: Schema) -> AsyncIterator[PostgresStore]:
    """In partitions by day, of which there are those of yesterday and of six days from today on."""
    store = open_sql(f"{schema.url}&level=2&period=day")
    await store.setup()
    for day in (0, 3):
        await store.keep_partitions(FIRST_US + day * DAY_US)
    yield store
    await store.close()


def made_at(at_us: int, number: int) -> bytes:
    """An id that a producer's clock made then."""
    return (at_us // 1000 << 80 | 7 << 76 | 2 << 62 | number).to_bytes(16, "big")


def timed(day: int, number: int, late_days: int = 0) -> Message:
    at_us = FIRST_US + day * DAY_US + number * STEP_US
    session, created_us = f"s{number % 4}", at_us + late_days * DAY_US
    return Message(made_at(at_us, number), created_us, session, "user", f"{day} {number}")


def told(day: int, number: int) -> LogEvent:
    at_us = FIRST_US + day * DAY_US + number * STEP_US
    return LogEvent(made_at(at_us, number), at_us, 20, "step")


def partitions(schema: Schema, table: str) -> int:
    named = "SELECT count(*) FROM pg_partition_tree($1::text::regclass) WHERE isleaf"
    return int(schema.rows(named, table)[0][0])


async def test_partitions_past_their_time_go_whole_and_sessions_count_what_is_left(
    divided: PostgresStore, schema: Schema
) -> None:
    gone = [timed(day, number) for day in (0, 1) for number in range(30)]
    young = [timed(1, 100, late_days=2), *(timed(2, number) for number in range(10))]
    of_own_key = message(1)._replace(created_at_us=FIRST_US)
    chunk = StreamChunk(id_from_key("chunk"), START_US, "s", "assistant", gone[0].id, 0, 1, "tok")
    await divided.write([*gone, *young, of_own_key, chunk, *(told(0, number) for number in range(9)), told(2, 0)])
    before_us, there = FIRST_US + 2 * DAY_US + 5 * STEP_US, partitions(schema, "messages")

    due = [await divided.count_due(kind, before_us) for kind in ("logs", "messages")]
    removed = [await _all_removed(divided, kind, before_us) for kind in ("logs", "messages")]

    assert due == removed == [9, 61]
    assert sorted(schema.messages()) == sorted(young)
    assert schema.counts() == counted(young)
    assert schema.logs() == [told(2, 0)]
    assert schema.chunks() == []
    assert partitions(schema, "messages") == there - 3
    assert partitions(schema, "logs") == there - 3
    assert _set_aside(schema) == []


async def test_a_partition_that_was_left_half_way_is_finished_the_next_time(
    divided: PostgresStore, schema: Schema
) -> None:
    gone, young = [timed(0, number) for number in range(30)], timed(1, 0)
    await divided.write([*gone, young])
    before_us = FIRST_US + DAY_US
    assert await divided.remove_due("messages", before_us, FAR_US, 7) == 7
    assert len(_set_aside(schema)) == 1
    await divided.close()

    again = open_sql(f"{schema.url}&level=2&period=day")
    assert schema.messages() == [young]
    assert await again.count_due("messages", before_us) == 23
    assert await _all_removed(again, "messages", before_us) == 23

    assert schema.counts() == counted([young])
    assert _set_aside(schema) == []
    await again.close()


async def test_a_session_that_goes_on_between_two_slices_counts_what_came_since(
    divided: PostgresStore, schema: Schema
) -> None:
    await divided.write([timed(0, 4 * number) for number in range(20)])
    before_us, young = FIRST_US + DAY_US, [timed(1, 0), timed(1, 4)]
    assert await divided.remove_due("messages", before_us, FAR_US, 7) == 7

    await divided.write(young)
    await _all_removed(divided, "messages", before_us)

    assert schema.counts() == counted(young)


async def test_a_session_deleted_while_its_messages_are_set_aside_counts_those_after_the_deletion(
    divided: PostgresStore, schema: Schema
) -> None:
    young = timed(2, 0)
    await divided.write([*(timed(day, 4 * number) for day in (0, 1) for number in range(20)), young])
    before_us = FIRST_US + DAY_US
    assert await divided.remove_due("messages", before_us, FAR_US, 7) == 7

    await divided.write([forgotten(0, "s0")._replace(created_at_us=FIRST_US + 2 * DAY_US - 1)])
    await _all_removed(divided, "messages", before_us)

    assert schema.counts() == counted([young])


async def test_sessions_count_right_beside_partitions_that_go(divided: PostgresStore, schema: Schema) -> None:
    """Writers go on with sessions, one deletes them, and three take the old partitions away, all at once."""
    rng = random.Random(3)
    await divided.write([timed(day, number) for day in (0, 1) for number in range(200)])

    async def write() -> None:
        for _ in range(20):
            await divided.write([timed(rng.choice((2, 3)), number) for number in rng.sample(range(200), 10)])

    async def delete() -> None:
        for _ in range(10):
            at_us = FIRST_US + 2 * DAY_US + rng.randrange(200) * STEP_US
            await divided.write([forgotten(at_us, f"s{rng.randrange(4)}")._replace(created_at_us=at_us)])

    async def remove() -> None:
        await _all_removed(divided, "messages", FIRST_US + 2 * DAY_US)

    async with asyncio.TaskGroup() as group:
        for each in (write, write, delete, remove, remove, remove):
            group.create_task(each())
    await remove()

    assert schema.counts() == counted(schema.messages())
    assert _set_aside(schema) == []


async def test_several_that_remove_at_once_count_each_message_once(divided: PostgresStore, schema: Schema) -> None:
    young = [timed(1, number) for number in range(4)]
    await divided.write([*(timed(0, number) for number in range(200)), *young])

    removed = await asyncio.gather(*(_all_removed(divided, "messages", FIRST_US + DAY_US) for _ in range(3)))
    left = await _all_removed(divided, "messages", FIRST_US + DAY_US)

    assert sum(removed) + left == 200
    assert schema.counts() == counted(young)
    assert _set_aside(schema) == []


async def test_an_empty_partition_that_is_past_its_time_goes_too(divided: PostgresStore, schema: Schema) -> None:
    there = partitions(schema, "messages")

    for kind in ("logs", "messages"):
        assert await divided.remove_due(kind, FIRST_US + DAY_US, FAR_US, 5) == 0

    assert (partitions(schema, "messages"), partitions(schema, "logs")) == (there - 2, there - 2)


async def test_upkeep_makes_partitions_ahead_once_an_hour(divided: PostgresStore) -> None:
    later_us = FIRST_US + 9 * DAY_US

    made = [await divided.tidy(later_us + minute * STEP_US) for minute in (0, 1, 61)]

    assert made[0]["partitions_made"] > 0
    assert made[1:] == [{}, {}]


async def test_a_partition_that_cannot_go_holds_up_nothing_else(divided: PostgresStore, schema: Schema) -> None:
    """Somebody's view shows the oldest log events, so their partition is not dropped."""
    young, now_us = timed(8, 0), FIRST_US + 9 * DAY_US
    await divided.write([told(0, 0), timed(0, 0), young])
    schema.execute(
        f"CREATE VIEW shown AS SELECT event FROM logs_{datetime.fromtimestamp(FIRST_US / 1_000_000, UTC):%Y%m%d}"
    )
    run = Run(divided, WorkerConfig(retain_logs_days=8, retain_messages_days=8), now_us)

    with pytest.raises(StoreUnavailable, match="2BP01"):
        await run.perform()

    assert schema.logs() == [told(0, 0)]
    assert schema.messages() == [young]
    assert run.counted() == {"messages": 1, "partitions_made": run.tidied["partitions_made"]}
    assert not run.is_complete


async def test_for_a_role_that_owns_no_table_rows_go_one_by_one(divided: PostgresStore, schema: Schema) -> None:
    young = timed(1, 0)
    await divided.write([*(timed(0, number) for number in range(9)), young, told(0, 0)])
    there = partitions(schema, "messages")
    schema.execute(
        "CREATE ROLE writer",
        f"GRANT USAGE ON SCHEMA {schema.name} TO writer",
        f"GRANT ALL ON ALL TABLES IN SCHEMA {schema.name} TO writer",
    )
    try:
        store = open_sql(f"{schema.url}%20-crole%3Dwriter&level=2&period=day")

        removed = [await _all_removed(store, kind, FIRST_US + DAY_US) for kind in ("logs", "messages")]

        assert removed == [1, 9]
        assert await store.tidy(FIRST_US + 9 * DAY_US) == {}
        assert schema.counts() == counted([young])
        assert partitions(schema, "messages") == there
        await store.close()
    finally:
        schema.execute("DROP OWNED BY writer", "DROP ROLE writer")


async def _all_removed(store: PostgresStore, kind: Table, before_us: int) -> int:
    total = 0
    while gone := await store.remove_due(kind, before_us, FAR_US, 7):
        total += gone
    return total


def _set_aside(schema: Schema) -> list[tuple[object, ...]]:
    return schema.rows(
        "SELECT relname FROM pg_class WHERE relname LIKE 'set_aside%' AND relkind = 'r' AND pg_table_is_visible(oid)"
    )
