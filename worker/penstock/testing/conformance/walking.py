"""What every SQL store shows to whoever walks it: all rows, as the records that make them again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from penstock.stores.contract import SqlReading, SqlStore
from penstock.stores.errors import StoreUnavailable
from penstock.stores.walking import TABLES
from penstock.testing.conformance.records import START_US, Backend, chunk, log, message
from penstock.testing.conformance.state_records import (
    agent_state,
    context,
    deleted,
    forgotten,
    hidden,
    key_value,
    ordered,
    task,
    task_status,
)
from penstock.wire.ids import id_from_key
from penstock.wire.records import LogEvent, Message, Record

JSON = b'{ "b": 1e2,  "a":-0.0, "deep":[{"x":9223372036854775807}], "w":"\xd0\xb6\xe2\x82\xac\\u20ac", "nothing":null }'
"""As nobody but the caller would write it."""


def filling() -> list[list[Record]]:
    """Batches after which every table holds rows of every make."""
    names: dict[str, Any] = {name: f"{name} \U0010ffff" for name in Message._fields[6:19]}
    return [
        [message(0), message(1, "t", user_id="ada"), message(2, "t", user_id="bob", platform="web")],
        [message(3)._replace(content=None, metadata=JSON, normalised=True, updated_at_us=START_US + 9, **names)],
        [message(number)._replace(created_at_us=START_US + 50) for number in range(10, 16)],
        [message(4)._replace(content="", state="interrupted", version=3), message(5, "gone"), message(6, "u")],
        [hidden(90, 0), hidden(91, 6, "u"), hidden(92, 77), hidden(93, 78, "other"), forgotten(94, "gone")],
        [message(95, "gone")._replace(created_at_us=START_US + 95), forgotten(96, "never")],
        [chunk(0, "tok"), chunk(2, ""), chunk(1, "世界")],
        [log(0), log(1, level=35, message="", agent_id="a", task_id="t", data=JSON)],
        [LogEvent(id_from_key("l9"), START_US, 50, "same time"), LogEvent(id_from_key("l8"), START_US, 50, "as this")],
        [task(1), task_status(2, "done", duration_s=1e2, result=b"null"), task_status(3, "lost", "alone")],
        [task(4, "off", enabled=False, duration_s=-0.0, data=JSON, result=b'"\\u0061"', normalised=True)],
        [task(5, "т"), task(6, "d"), deleted(7, task(6, "d"))],
        [agent_state(1), agent_state(2, "b", stats=JSON, role="coder"), deleted(3, agent_state(1))],
        [context(1), context(2, "e", expires_at_us=1, data=JSON), deleted(3, context(1))],
        [key_value(1), key_value(2, "k", "m"), key_value(3, "\U00010000", value=b" 1e2", expires_at_us=1)],
        [key_value(4, "\uffff", value=b"null"), deleted(5, key_value(1))],
    ]  # fmt: skip


async def fill(store: SqlStore) -> None:
    for batch in filling():
        await store.write(batch)


async def walked(source: SqlReading, table: str, limit: int = 1_000) -> list[Any]:
    """All of a table, a page after the other."""
    found: list[Any] = []
    while page := await source.walk(table, found[-1] if found else None, limit):
        assert len(page) <= limit
        found += page
    return found


class WalkingConformance(ABC):
    """A part of `SqlStoreConformance`."""

    @abstractmethod
    def fresh(self) -> AbstractAsyncContextManager[Backend]:
        """See `SqlStoreConformance.fresh`."""

    async def test_an_empty_store_is_walked_at_once(self, store: SqlStore) -> None:
        assert [await walked(store, table) for table in TABLES] == [[]] * len(TABLES)

    async def test_a_walk_shows_every_row_as_it_is_stored(self, backend: Backend) -> None:
        await fill(backend.store)
        store = backend.store

        states: list[Any] = []
        for table in ("tasks", "agent_states", "contexts", "key_values"):
            states += await walked(store, table)

        assert sorted(await walked(store, "messages")) == sorted(backend.messages())
        assert sorted(await walked(store, "logs")) == sorted(backend.logs())
        assert ordered(states) == ordered(list(backend.states()))
        chunks = [(each.stream_id, each.seq, each.text) for each in await walked(store, "chunks")]
        assert chunks == list(backend.chunks())

    async def test_values_have_one_type_and_one_writing_in_every_backend(self, store: SqlStore) -> None:
        await fill(store)

        full = (await walked(store, "messages"))[3]
        off = {each.task_id: each for each in await walked(store, "tasks")}["off"]

        assert (full.metadata, full.normalised) == (JSON, True)
        assert (off.data, off.result, off.enabled, str(off.duration_s)) == (JSON, b'"\\u0061"', False, "0.0")
        for table, walk in TABLES.items():
            for each in await walked(store, table):
                assert [type(value) for value in each if isinstance(value, bool)] == [bool] * len(walk._flags)

    @pytest.mark.parametrize("limit", [1, 2, 3])
    async def test_pages_of_any_size_make_the_same_walk(self, store: SqlStore, limit: int) -> None:
        await fill(store)

        for table, walk in TABLES.items():
            whole = await walked(store, table)
            assert len(whole) >= 2
            assert [walk.key_of(each) for each in whole] == sorted({walk.key_of(each) for each in whole})
            assert await walked(store, table, limit) == whole

    async def test_what_was_walked_makes_the_same_rows_in_an_empty_store(self, backend: Backend) -> None:
        await fill(backend.store)
        tables = {table: await walked(backend.store, table) for table in TABLES}

        async with self.fresh() as other:
            for records in tables.values():
                await other.store.write(records)
                assert await other.store.write(records) == 0

            assert {table: await walked(other.store, table) for table in TABLES} == tables
            assert other.counts() == backend.counts()
            assert await other.store.session("t") == await backend.store.session("t")

    async def test_a_session_is_its_first_named_users_also_when_ids_fall(self, store: SqlStore) -> None:
        ids = sorted((id_from_key("x"), id_from_key("y")), reverse=True)
        await store.write([message(n, user_id=f"u{n}")._replace(id=each) for n, each in enumerate(ids)])

        async with self.fresh() as other:
            await other.store.write(await walked(store, "messages"))

            session = await other.store.session("s")
            assert session is not None
            assert session.user_id == "u0"

    async def test_a_snapshot_stays_what_it_was(self, store: SqlStore) -> None:
        await store.write([message(0), log(0), key_value(1)])

        async with store.snapshot() as then:
            await store.write([message(1), hidden(9, 0), log(1), key_value(2)])
            assert await walked(then, "messages") == [message(0)]
            assert await walked(then, "logs") == [log(0)]
            assert len(await walked(then, "key_values")) == 1
            shown = await then.session("s")
            assert shown is not None
            assert shown.message_count == 1

        assert len(await walked(store, "messages")) == 2
        assert await store.write([message(2)]) == 1

    async def test_an_error_in_the_block_of_a_snapshot_comes_out_as_it_is(self, store: SqlStore) -> None:
        with pytest.raises(OSError, match="disk full"):
            async with store.snapshot():
                raise OSError("disk full")

        assert await store.write([message(0)]) == 1

    async def test_a_closed_store_gives_no_snapshot(self, store: SqlStore) -> None:
        await store.close()

        with pytest.raises(StoreUnavailable, match="closed"):
            async with store.snapshot():
                raise AssertionError("opened")
