"""The index of words in a PostgreSQL database with more than one writer, and with more than one partition."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from penstock.query.search_text import parse
from penstock.stores.postgres import PostgresStore, open_sql
from penstock.stores.queries import FoundQuery
from penstock.testing.conformance.records import START_US, message
from penstock.testing.conformance.searching import found, refreshed
from penstock.testing.conformance.state_records import FAR_US, forgotten
from penstock.wire.records import Message
from tests.conformance.postgres_server import Schema


@pytest.fixture
async def store(schema: Schema) -> AsyncIterator[PostgresStore]:
    store = open_sql(schema.url)
    await store.setup()
    yield store
    await store.close()


def said(number: int, session: str = "s") -> Message:
    return message(number, session)._replace(content=f"word n{number}")


@pytest.mark.parametrize("seed", range(3))
async def test_nothing_is_missed_or_left_over_whoever_writes_deletes_and_indexes_at_once(
    store: PostgresStore, schema: Schema, seed: int
) -> None:
    rng = random.Random(seed)
    other = open_sql(schema.url)

    async def write(number: int) -> None:
        session = f"s{number % 7}"
        await store.write([said(20 * number + each, session) for each in range(20)])
        if number % 3 == 0:
            await other.write([forgotten(20 * number, session)])

    async def index(by: PostgresStore) -> None:
        for _ in range(15):
            await by.refresh_search(rng.randint(2, 30))

    async def retain() -> None:
        for _ in range(10):
            await other.remove_due("messages", START_US + rng.randint(0, 200), FAR_US, 5)

    calls = [*(write(number) for number in range(30)), index(store), index(other), retain()]
    rng.shuffle(calls)
    async with asyncio.timeout(60):
        await asyncio.gather(*calls)
    await refreshed(other)
    await other.close()

    left = sorted(f"{each.content}" for each in schema.messages())
    assert schema.words() == left
    assert schema.rows("SELECT count(*) FROM search_pending") == [(0,)]
    assert len(await store.search_messages(FoundQuery(search=parse("word"), limit=1_000))) == len(left)


@pytest.mark.parametrize("by", ["deletion", "retention", "dropping"])
async def test_who_removes_messages_waits_for_who_has_read_them_for_the_index(
    store: PostgresStore, schema: Schema, by: str
) -> None:
    await store.write([said(0)])
    await refreshed(store)
    schema.execute("BEGIN", "SELECT pg_advisory_xact_lock(504627, 0)", "DELETE FROM search_entries")
    remove = {
        "deletion": store.write([forgotten(9)]),
        "retention": store.remove_due("messages", START_US + 9, FAR_US, 5),
        "dropping": store.drop_before("messages", START_US + 9),
    }
    removing = asyncio.create_task(remove.pop(by))
    for call in remove.values():
        call.close()
    done, _ = await asyncio.wait([removing], timeout=0.2)
    schema.execute(
        "INSERT INTO search_entries SELECT id, version, created_at, ' word n0 ' FROM messages",
        "COMMIT",
    )
    await removing
    await refreshed(store)

    assert not done
    assert schema.words() == []


async def test_a_write_that_is_not_committed_when_the_index_is_filled_is_found_after(
    store: PostgresStore, schema: Schema
) -> None:
    await store.write([said(0)])
    # Who holds the session's row keeps the second write from its end.
    schema.execute("BEGIN", "SELECT FROM sessions FOR UPDATE")
    late = asyncio.create_task(store.write([said(1)]))
    done, _ = await asyncio.wait([late], timeout=0.2)
    await store.write([said(2, "other")])
    await refreshed(store)
    before = await found(store, "word")
    schema.execute("COMMIT")
    await late
    await refreshed(store)

    assert not done
    assert before == [2, 0]
    assert await found(store, "word") == [2, 1, 0]


@pytest.mark.parametrize("level", [1, 2])
async def test_words_go_with_messages_that_are_dropped(schema: Schema, level: int) -> None:
    store = open_sql(f"{schema.url}&level={level}")
    await store.setup()
    await store.write([said(number) for number in range(10)])
    await refreshed(store)

    dropped = await store.drop_before("messages", START_US + 6)
    assert await found(store, "word") == [9, 8, 7, 6]
    await refreshed(store, 3)

    assert dropped.deleted == 6
    assert schema.words() == [f"word n{number}" for number in range(6, 10)]
    assert await store.refresh_search(3) == 0
    await store.close()
