"""The reader's questions: what they mean, and what is refused."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import penstock.query
import penstock.stores
from penstock.query import FilterError, InvalidCursor, InvalidQuery, Reader
from penstock.stores import StoreUnavailable, sql_store, vector_store
from penstock.stores.contract import SqlStore
from penstock.wire.ids import format_id, from_us, id_from_key
from penstock.wire.records import Embedding, KeyValue, LogEvent, Message, Task

START_US = 1_750_000_000_000_000


def message(number: int, session: str = "s", **fields: Any) -> Message:
    return Message(id_from_key(f"m{number}"), START_US + number, session, "user", f"text {number}", **fields)


@pytest.fixture
async def store() -> AsyncIterator[SqlStore]:
    store = sql_store("memory://")
    yield store
    await store.close()


@pytest.fixture
def reader(store: SqlStore) -> Reader:
    return Reader.open(sql=store)


async def test_a_message_is_found_by_any_form_of_its_id(store: SqlStore, reader: Reader) -> None:
    await store.write([message(0)])

    for form in (message(0).id, format_id(message(0).id), uuid.UUID(bytes=message(0).id)):
        found = await reader.message(form)
        assert found is not None
        assert found.content == "text 0"


async def test_a_page_leads_to_the_next_until_the_end(store: SqlStore, reader: Reader) -> None:
    await store.write([message(number) for number in range(5)])

    first = await reader.messages("s", limit=2)
    second = await reader.messages("s", limit=2, after=first.next)
    third = await reader.messages("s", limit=2, after=second.next)

    assert [[each.content for each in page] for page in (first, second, third)] == [
        ["text 0", "text 1"],
        ["text 2", "text 3"],
        ["text 4"],
    ]
    assert third.next is None


async def test_newest_first_pages_go_back(store: SqlStore, reader: Reader) -> None:
    await store.write([message(number) for number in range(4)])

    first = await reader.messages("s", ascending=False, limit=3)
    second = await reader.messages("s", ascending=False, limit=3, after=first.next)

    assert [each.content for each in (*first, *second)] == ["text 3", "text 2", "text 1", "text 0"]


async def test_a_cursor_of_the_other_order_is_refused(store: SqlStore, reader: Reader) -> None:
    await store.write([message(number) for number in range(4)])
    page = await reader.messages(limit=1)

    for wrong in (reader.messages(ascending=False, after=page.next), reader.sessions(after=page.next)):
        with pytest.raises(InvalidCursor, match="messages oldest first"):
            await wrong


async def test_all_messages_are_all(store: SqlStore, reader: Reader) -> None:
    await store.write([message(number, f"s{number % 2}") for number in range(1_201)])

    whole = [each.content async for each in reader.all_messages()]
    one = [each.content async for each in reader.all_messages("s1", ascending=False)]

    assert whole == [f"text {number}" for number in range(1_201)]
    assert one == [f"text {number}" for number in range(1_199, 0, -2)]


async def test_all_logs_are_all(store: SqlStore, reader: Reader) -> None:
    await store.write([LogEvent(id_from_key(f"l{n}"), START_US + n, 20, "e", str(n)) for n in range(501)])

    assert [each.message async for each in reader.all_logs(event="e")] == [str(number) for number in range(501)]


async def test_times_are_given_aware_or_in_microseconds(store: SqlStore, reader: Reader) -> None:
    await store.write([message(number) for number in range(4)])

    zone = from_us(START_US + 2).astimezone(datetime.now(UTC).astimezone().tzinfo)

    assert await reader.count_messages(since=zone) == 2
    assert (
        await reader.count_messages("s", since=START_US + 1, until=from_us(START_US) + timedelta(microseconds=3)) == 2
    )


async def test_filters_take_what_producers_take(store: SqlStore, reader: Reader) -> None:
    engine = uuid.uuid4()
    await store.write(
        [
            message(0, engine_session_id=str(engine)),
            message(1, message_type="image"),
            message(2)._replace(session_id="a\ufffdb"),
            LogEvent(id_from_key("l"), START_US, 40, "boom"),
        ]
    )

    assert await reader.count_messages(engine_session_id=engine) == 1
    assert await reader.count_messages(message_types=["image", "audio"]) == 1
    assert await reader.count_messages(message_types="image") == 1
    assert await reader.count_messages("a\0b", user_id=None) == 1
    assert await reader.session("a\0b") is not None
    assert await reader.count_logs(level="error", min_level="WARNING") == 1
    assert await reader.count_logs(min_level=50) == 0


@pytest.mark.parametrize(
    ("ask", "complaint"),
    [
        (lambda reader: reader.messages(limit=0), "limit is 0"),
        (lambda reader: reader.messages(after="nonsense"), "no cursor"),
        (lambda reader: reader.messages(since=datetime(2025, 1, 1)), "time zone"),  # noqa: DTZ001 - the point
        (lambda reader: reader.messages(author="me"), "no filter is called 'author'; known are bot_user_id"),
        (lambda reader: reader.messages(5), "session_id: got 5"),
        (lambda reader: reader.message("nonsense"), "a UUID is needed"),
        (lambda reader: reader.session(None), "session_id: got None"),
        (lambda reader: reader.sessions(user_id=7), "user_id: got 7"),
        (lambda reader: reader.logs(level="loud"), "level: got 'loud'"),
        (lambda reader: reader.logs(limit=2000), "limit is 2000"),
        (lambda reader: reader.count_logs(role="user"), "no filter is called 'role'"),
        (lambda reader: reader.tasks(enabled="no"), "enabled: got 'no'.*True or False is needed"),
        (lambda reader: reader.tasks(session_id="s"), "no filter is called 'session_id'; known are agent_id, enabled"),
        (lambda reader: reader.task(5), "task_id: got 5"),
        (lambda reader: reader.tasks(limit=0), "limit is 0"),
        (lambda reader: reader.agent_states(active=1), "active: got 1"),
        (lambda reader: reader.agent_statistics(None), "agent_id: got None"),
        (lambda reader: reader.logs(since=1_795_268_672), "that is 1970-01-01 00:29 in microseconds"),
        (lambda reader: reader.contexts(since="today"), "since: got 'today'"),
        (lambda reader: reader.key_values(b"k"), "prefix: got b'k'"),
        (lambda reader: reader.get_many("key"), "a list of at most 1,000 keys"),
        (lambda reader: reader.get_many(["k"] * 1_001), "a list of at most 1,000 keys"),
        (lambda reader: reader.get_many([1]), "keys: got 1"),
        (lambda reader: reader.search("docs", vector=[1]), "give Reader.open its vectors="),
        (lambda reader: reader.search("a b", vector=[1]), "collection: got 'a b'"),
        (lambda reader: reader.search("docs", vector=[]), "vector: got '0 numbers'"),
        (lambda reader: reader.search("docs", vector=["x"]), "a sequence of numbers"),
        (lambda _: Reader.open(vectors="memory://").search("docs", vector=[1], top_k=0), "top_k is 0; .* accepted$"),
        (lambda reader: Reader.open(vectors="memory://").messages(), "give Reader.open its sql="),
    ],
)
async def test_a_question_that_makes_no_sense_says_why(
    reader: Reader, ask: Callable[[Reader], Any], complaint: str
) -> None:
    with pytest.raises(InvalidQuery, match=complaint):
        await ask(reader)


async def test_a_filter_goes_on_from_page_to_page(store: SqlStore, reader: Reader) -> None:
    await store.write([message(n, metadata=b'{"even":true}' if n % 2 == 0 else None) for n in range(7)])

    first = await reader.messages(where={"even": True}, limit=3)
    second = await reader.messages(where={"even": True}, limit=3, after=first.next)

    assert [each.content for each in (*first, *second)] == ["text 0", "text 2", "text 4", "text 6"]


async def test_a_filter_with_an_unknown_operator_is_no_filter(reader: Reader) -> None:
    with pytest.raises(FilterError, match=r"unknown operator '\$like'; known are \$eq"):
        await reader.messages(where={"a": {"$like": "x"}})


async def test_what_has_expired_is_told_by_the_readers_clock(store: SqlStore) -> None:
    times = iter([START_US + 9, START_US + 10])
    reader = Reader.open(sql=store, clock=lambda: next(times))
    await store.write([KeyValue(id_from_key("k"), START_US, bytes(16), "default", "k", b"1", START_US + 10)])

    assert [await reader.value("k"), await reader.value("k")] == [1, None]


async def test_without_a_clock_of_its_own_a_reader_goes_by_the_wall(store: SqlStore, reader: Reader) -> None:
    await store.write([KeyValue(id_from_key("k"), START_US, bytes(16), "default", "old", b"1", START_US + 10)])
    await store.write(
        [KeyValue(id_from_key("l"), START_US, bytes(16), "default", "new", b"1", 250_000_000_000_000_000)]
    )

    assert [each.key for each in await reader.key_values()] == ["new"]


async def test_a_cursor_leads_through_its_own_kind_only(store: SqlStore, reader: Reader) -> None:
    await store.write([Task(id_from_key(f"t{n}"), START_US + n, bytes(15) + b"x", f"t{n}") for n in range(3)])
    page = await reader.tasks(limit=1)

    assert [each.id for each in await reader.tasks(after=page.next)] == ["t1", "t2"]
    with pytest.raises(InvalidCursor, match="tasks oldest first, not contexts oldest first"):
        await reader.contexts(after=page.next)


async def test_a_search_gives_hits_best_first() -> None:
    vectors = vector_store("memory://")
    await vectors.write(
        [
            Embedding(id_from_key("a"), 1, "docs", "far", b"\0\0\x80\x3f\0\0\0\0"),
            Embedding(id_from_key("b"), 1, "docs", "near", b"\0\0\0\0\0\0\x80\x3f", "text", b'{"k":1}'),
        ]
    )
    reader = Reader.open(vectors=vectors)

    hits = await reader.search("docs", vector=[0.1, 1.0], top_k=2)

    assert [hit.id for hit in hits] == ["near", "far"]
    assert (hits[0].text, hits[0].metadata) == ("text", {"k": 1})
    assert await reader.search("docs", vector=[0.1, 1.0], where={"k": 2}) == []


async def test_vectors_come_in_the_order_of_their_ids_with_gaps() -> None:
    vectors = vector_store("memory://")
    await vectors.write([Embedding(id_from_key(key), 1, "docs", key, b"\0\0\x80\x3f") for key in "ab"])
    reader = Reader.open(vectors=vectors)

    found = await reader.vectors("docs", ["b", "none", "a", "b"])

    assert [each and each.id for each in found] == ["b", None, "a", "b"]
    assert (await reader.count_vectors("docs"), await reader.collections()) == (2, ["docs"])
    assert await reader.vectors("nowhere", ["a"]) == [None]
    for wrong in ("ids", ["x"] * 1_001):
        with pytest.raises(InvalidQuery, match="at most 1,000"):
            await reader.vectors("docs", wrong)


async def test_a_search_may_name_its_metric() -> None:
    vectors = vector_store("memory://?metric=dot")
    await vectors.write(
        [
            Embedding(id_from_key("a"), 1, "docs", "long", b"\0\0\0\x41\0\0\x80\x40"),
            Embedding(id_from_key("b"), 1, "docs", "same", b"\0\0\x80\x3f\0\0\0\0"),
        ]
    )
    reader = Reader.open(vectors=vectors)

    assert [hit.score for hit in await reader.search("docs", vector=[1, 0])] == [8.0, 1.0]
    assert [hit.id for hit in await reader.search("docs", vector=[1, 0], metric="l2")] == ["same", "long"]


async def test_a_reader_closes_what_it_opened_and_nothing_else(store: SqlStore) -> None:
    async with Reader.open(sql=store) as reader:
        await reader.sessions()
    await store.check()
    async with Reader.open(sql="memory://") as reader:
        await reader.sessions()
        opened = reader._opened[0]

    with pytest.raises(StoreUnavailable, match="closed"):
        await opened.check()


async def test_the_environment_names_the_stores() -> None:
    reader = Reader.from_env({"PENSTOCK_SQL_URL": "memory://", "PENSTOCK_VECTOR_URL": "memory://"})

    assert await reader.count_messages() == 0
    assert await reader.search("docs", vector=[1.0]) == []
    assert Reader.from_env({"DATABASE_URL": "memory://"})._sql == "memory://"
    assert (Reader.from_env({})._sql, Reader.from_env({})._vectors) == (
        "sqlite:///./penstock.db",
        "lancedb:///./vectors",
    )


def test_the_public_names_of_reading_are_these() -> None:
    assert penstock.query.__all__ == [
        "FilterError", "Hit", "InvalidCursor", "InvalidQuery", "Page", "Reader", "Session", "StoredLog",
        "StoredMessage",
    ]  # fmt: skip
    assert penstock.stores.__all__ == [
        "BadStoreURL", "DimensionMismatch", "Fence", "StaleOwner", "StoreError", "StoreRejected", "StoreUnavailable",
        "register", "sql_store", "vector_store",
    ]  # fmt: skip


def test_importing_the_reader_imports_no_driver_and_no_queue() -> None:
    code = (
        "import sys, penstock.query; "
        "print([m for m in ('redis', 'arq', 'lancedb', 'aiosqlite', 'pyarrow', 'numpy') if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert shown.stdout.strip() == "[]"
