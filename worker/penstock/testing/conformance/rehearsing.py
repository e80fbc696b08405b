"""What every SQL store does when a write is only tried: tells what would become of each record, and changes nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from penstock.stores.contract import SqlStore
from penstock.stores.errors import StoreUnavailable
from penstock.testing.conformance.bad_input import BAD
from penstock.testing.conformance.records import Backend, chunk, counted, embedding, log, message
from penstock.testing.conformance.state_records import (
    SAVES,
    agent_state,
    context,
    forgotten,
    hidden,
    key_value,
    task,
    task_status,
)
from penstock.wire.records import Record

KINDS: list[Record] = [
    message(0),
    message(1)._replace(version=5),
    chunk(0),
    log(0),
    task(5),
    task_status(6),
    agent_state(5),
    context(5),
    key_value(5),
    hidden(9, 0),
]


class RehearsalConformance:
    """A part of `SqlStoreConformance`."""

    @pytest.mark.parametrize("record", KINDS, ids=lambda record: type(record).__name__)
    async def test_what_is_new_would_be_and_what_is_there_would_not(self, store: SqlStore, record: Record) -> None:
        before = await store.rehearse([record])
        await store.write([record])
        after = await store.rehearse([record])

        assert ([each.is_new for each in before], [each.is_new for each in after]) == ([True], [False])
        assert [each.refusal for each in (*before, *after)] == [None, None]

    @pytest.mark.parametrize("make", SAVES, ids=lambda make: make.__name__)
    async def test_state_older_than_what_is_stored_would_change_nothing(self, store: SqlStore, make: Any) -> None:
        await store.write([make(5)])

        trials = await store.rehearse([make(4), make(5), make(6)])

        assert [each.is_new for each in trials] == [False, False, True]

    async def test_each_record_is_tried_after_those_before_it(self, store: SqlStore) -> None:
        trials = await store.rehearse([message(0), message(0), task(5), task(4), forgotten(9), message(1)])

        assert [each.is_new for each in trials] == [True, False, True, False, True, False]

    async def test_nothing_is_changed_whatever_is_tried(self, backend: Backend) -> None:
        await backend.store.write([message(0), log(0), chunk(0), task(1), key_value(1)])
        before = (backend.messages(), backend.logs(), backend.chunks(), backend.counts(), list(backend.states()))

        await backend.store.rehearse(
            [message(1, "other"), message(0)._replace(version=9, content="x"), log(1), chunk(1), task(9), key_value(9)]
        )
        await backend.store.rehearse([hidden(9, 0), forgotten(9)])

        after = (backend.messages(), backend.logs(), backend.chunks(), backend.counts(), list(backend.states()))
        assert after == before
        assert await backend.store.write([message(1, "other"), forgotten(9), message(2, "other")]) == 3
        assert backend.counts() == counted([message(1, "other"), message(2, "other")])

    async def test_a_refusal_is_told_and_hinders_no_other(self, store: SqlStore) -> None:
        bad = message(2)._replace(metadata=b"[1]")

        trials = await store.rehearse([message(1), bad, embedding(), message(3)])

        assert [each.is_new for each in trials] == [True, False, False, True]
        assert [bool(each.refusal) for each in trials] == [False, True, True, False]
        assert "metadata" in (trials[1].refusal or "")

    async def test_it_refuses_what_a_write_refuses(self, store: SqlStore) -> None:
        trials = await store.rehearse(BAD)

        assert [record for record, each in zip(BAD, trials, strict=True) if each.refusal is None] == []

    async def test_beside_writers_of_the_same_sessions_all_get_through(self, backend: Backend) -> None:
        records: list[Record] = [message(number, f"s{number % 7}") for number in range(60)]
        async with asyncio.TaskGroup() as group:
            for at in range(0, 60, 20):
                group.create_task(backend.store.write(records[at : at + 20]))
                group.create_task(backend.store.rehearse(records[::-1]))

        assert len(backend.messages()) == 60
        assert backend.counts() == counted(list(backend.messages()))

    async def test_a_closed_store_tries_nothing(self, store: SqlStore) -> None:
        await store.close()

        with pytest.raises(StoreUnavailable, match="closed"):
            await store.rehearse([message(0)])
