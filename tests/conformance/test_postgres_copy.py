"""Messages and log events of large batches go by COPY, and nobody notices but the clock."""

from __future__ import annotations

import asyncio
import itertools
import traceback
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from penstock.stores import StoreRejected
from penstock.stores.postgres import PostgresStore, open_sql
from penstock.stores.postgres.copying import Optimism
from penstock.testing.conformance.records import START_US, Counts, counted, log, message
from penstock.wire.records import LogEvent, Message, Record
from tests.conformance.postgres_server import Schema


@pytest.fixture
async def store(schema: Schema) -> AsyncIterator[PostgresStore]:
    store = open_sql(schema.url)
    await store.setup()
    yield store
    await store.close()


LOGS = [
    log(number, message="a\tb\\N\n\u2028é" if number % 3 else None, agent_id="a" if number % 2 else None)._replace(
        data=b'{"a": 1e2}' if number % 5 else None, normalised=number % 7 == 0
    )
    for number in range(4_500)
]


async def test_what_is_copied_reads_as_what_is_inserted(store: PostgresStore, schema: Schema) -> None:
    assert await store.write([*LOGS, message(0)]) == 4_501
    assert schema.logs() == sorted(LOGS, key=lambda each: (each.created_at_us, each.id))
    assert await _written_by(store) == "COPY"


async def _written_by(store: PostgresStore, table: str = "logs") -> str:
    """What has written to *table*: the server knows each connection's prepared statements."""
    async with store._pool.connection() as connection:
        inserts: int = await connection.fetchval(
            "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE $1", f"%INSERT INTO {table} %"
        )
    return "INSERT" if inserts else "COPY"


MESSAGES = [
    message(
        number,
        f"session {number % 7}",
        metadata=b'{"a": 1e2}' if number % 5 else None,
        user_id=f"é{number}" if number > 1_000 else None,
        channel_id="a\tb\\N\n" if number % 2 else None,
        updated_at_us=START_US + number if number % 3 else None,
        deleted_at_us=START_US + 1 if number == 3 else None,
        state="interrupted" if number == 4 else None,
        version=number % 2,
        normalised=number % 7 == 0,
    )
    for number in range(1_200)
]


async def test_messages_that_are_copied_read_as_those_that_are_inserted(store: PostgresStore, schema: Schema) -> None:
    assert await store.write(MESSAGES) == 1_200
    assert schema.messages() == MESSAGES
    assert schema.counts() == _counted(MESSAGES)
    assert await _written_by(store, "messages") == "COPY"


def _counted(messages: Sequence[Message]) -> dict[str, Counts]:
    gone = Counter(each.session_id for each in messages if each.deleted_at_us)
    return {name: each._replace(messages=each.messages - gone[name]) for name, each in counted(messages).items()}


@pytest.mark.parametrize("known", [[0], [1_199], range(500, 600), range(1_200)], ids=str)
async def test_messages_that_are_there_already_count_once(store: PostgresStore, schema: Schema, known: Any) -> None:
    await store.write([MESSAGES[number] for number in known])

    assert await store.write(MESSAGES) == 1_200 - len(known)
    assert await store.write(MESSAGES) == 0
    assert schema.messages() == MESSAGES
    assert schema.counts() == _counted(MESSAGES)


async def test_of_an_id_that_comes_often_in_a_large_batch_the_highest_version_stays_in_the_first_place(
    store: PostgresStore, schema: Schema
) -> None:
    later = MESSAGES[7]._replace(version=5, content="later", created_at_us=START_US + 9_999)
    lower = later._replace(version=2, content="lower")

    assert await store.write([*MESSAGES, later, lower]) == 1_201
    assert await _written_by(store, "messages") == "COPY"
    assert schema.messages()[7] == later._replace(created_at_us=MESSAGES[7].created_at_us)
    assert schema.counts() == _counted(MESSAGES)


async def test_what_is_newer_in_a_large_batch_replaces_what_is_there(store: PostgresStore, schema: Schema) -> None:
    await store.write(MESSAGES)
    newer = [each._replace(version=each.version + 1, content="newer") for each in MESSAGES[::2]]

    assert await store.write([*newer, *(message(number) for number in range(2_000, 2_100))]) == 700
    assert schema.messages()[:1_200:2] == newer


def test_the_more_misses_in_a_row_the_more_batches_go_without_a_copy() -> None:
    optimism = Optimism()

    def passed() -> int:
        optimism.missed()
        return next(number for number in itertools.count() if optimism.is_due())

    assert optimism.is_due()
    assert [passed() for _ in range(5)] == [1, 3, 7, 15, 15]
    optimism.held()
    assert passed() == 1


@pytest.mark.parametrize("known", [[0], [4_499], range(2_000, 2_500), range(4_500)], ids=str)
async def test_what_is_there_already_is_skipped_and_the_rest_inserted(
    store: PostgresStore, schema: Schema, known: Any
) -> None:
    await store.write([LOGS[number]._replace(message="first") for number in known])

    assert await store.write(LOGS) == 4_500 - len(known)
    assert await store.write(LOGS) == 0
    first = {LOGS[number].id for number in known}
    assert {each.id for each in schema.logs() if each.message == "first"} == first
    assert len(schema.logs()) == 4_500


async def test_an_id_twice_in_a_large_batch_counts_once(store: PostgresStore, schema: Schema) -> None:
    assert await store.write([*LOGS, LOGS[7]._replace(message="second")]) == 4_500
    assert "second" not in {each.message for each in schema.logs()}


@pytest.mark.parametrize(
    "bad",
    [
        log(9_999)._replace(event="secret \ud800"),
        log(9_999)._replace(event="secret \0"),
        log(9_999)._replace(created_at_us=2**63),
        log(9_999)._replace(created_at_us=-1),
        log(9_999)._replace(level=2**63),
        log(9_999)._replace(data=b"[secret"),
        log(9_999)._replace(data=b'{"a":"secret \xff"}'),
        log(9_999)._replace(event=None),  # type: ignore[arg-type] # what a broken producer may send
        log(9_999)._replace(event=["secret"]),  # type: ignore[arg-type] # as above
        log(9_999)._replace(event=7),  # type: ignore[arg-type] # as above
        log(9_999)._replace(level="secret"),  # type: ignore[arg-type] # as above
        log(9_999)._replace(normalised="secret"),  # type: ignore[arg-type] # as above
        log(9_999)._replace(id=b"secret"),
    ],
)
async def test_a_row_that_cannot_be_refuses_the_whole_batch_and_is_not_quoted(
    store: PostgresStore, schema: Schema, bad: Record
) -> None:
    for batch in ([*LOGS, bad], [bad, *LOGS]):
        with pytest.raises(StoreRejected) as caught:
            await store.write([message(0), *batch])
        assert "secret" not in "".join(traceback.format_exception(caught.value))

    assert (schema.messages(), schema.logs()) == ([], [])
    assert await store.write(LOGS) == 4_500


async def test_writers_of_the_same_large_batches_beside_each_other_add_up(store: PostgresStore, schema: Schema) -> None:
    batches = [LOGS[at : at + 1_500] for at in range(0, 3_001, 500)]

    new = await asyncio.gather(*(store.write(batch) for batch in batches * 2))

    assert sum(new) == 4_500
    assert len(schema.logs()) == 4_500


@pytest.mark.parametrize("delay_ms", range(0, 40, 8))
async def test_a_copy_cancelled_at_any_time_is_all_or_nothing_and_gives_its_connection_back(
    schema: Schema, delay_ms: int
) -> None:
    store = open_sql(schema.url + "&pool_max=1")
    await store.setup()
    write = asyncio.create_task(store.write([*LOGS, message(0)]))
    await asyncio.wait([write], timeout=delay_ms / 1000)
    write.cancel()
    await asyncio.wait([write])

    assert await store.write([message(1)]) == 1
    stored = len(schema.logs())
    assert stored in (0, 4_500)
    assert len(schema.messages()) == (2 if stored else 1)
    await store.close()


async def test_a_copy_prepares_no_statement(schema: Schema) -> None:
    """One that outlives its transaction would meet others' of the same name behind a PgBouncer."""
    store = open_sql(schema.url + "&statement_cache_size=0&pool_max=1")
    await store.setup()

    assert await store.write(LOGS) == 4_500
    async with store._pool.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM pg_prepared_statements") == 0
    await store.close()


async def test_times_are_exact_in_a_copy_too(store: PostgresStore, schema: Schema) -> None:
    times = [0, 1, 999_999, START_US + 123_457, 253_402_300_799_999_999]
    sent = [LogEvent(log(n).id, times[n % 5], 20, "step") for n in range(1_000)]

    await store.write(sent)

    assert {each.id: each.created_at_us for each in schema.logs()} == {each.id: each.created_at_us for each in sent}
