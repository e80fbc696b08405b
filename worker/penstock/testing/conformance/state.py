"""What every SQL store does with state: the newer write stays, whatever the order.

Two things tell what came, and not what was sent: when a row was saved first is the earliest save that took effect, and
a change of status adds to those before it that took effect.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from typing import Any

import pytest

from penstock.stores.contract import Fence, SqlStore
from penstock.stores.errors import StaleOwner, StoreRejected
from penstock.stores.queries import AgentStateQuery, ContextQuery, KeyValueQuery, TaskQuery
from penstock.stores.states import Row
from penstock.testing.conformance.records import START_US, Backend, embedding
from penstock.testing.conformance.state_records import (
    FAR_US,
    SAVES,
    agent_state,
    context,
    deleted,
    kept,
    key_value,
    ordered,
    readable,
    stamp,
    task,
    task_status,
)
from penstock.wire.ids import NO_STAMP, from_us
from penstock.wire.records import StateRecord, Task

JSON = b'{ "b": 1.0, "a": 1e2, "\xd0\xb6": "\xe2\x82\xac \\u20ac", "big": 9223372036854775807, "deep": [[{"": null}]] }'
"""Spaces, order and numbers as nobody but the caller would write them."""


class StateConformance:
    """A part of `SqlStoreConformance`."""

    # One key

    @pytest.mark.parametrize("save", SAVES)
    async def test_what_was_saved_is_there(self, backend: Backend, save: Any) -> None:
        assert await backend.store.write([save(1)]) == 1

        assert backend.states() == [kept(save(1))]

    @pytest.mark.parametrize("save", SAVES)
    @pytest.mark.parametrize("order", list(itertools.permutations([1, 2, 3])), ids=str)
    async def test_the_newest_save_stays_whatever_the_order(
        self, backend: Backend, save: Any, order: Sequence[int]
    ) -> None:
        taken = [await backend.store.write([save(number)]) for number in order]

        assert backend.states() == [kept(save(3), first_at_us=START_US + order[0])]
        assert taken == [int(number == max(order[: at + 1])) for at, number in enumerate(order)]

    @pytest.mark.parametrize("save", SAVES)
    @pytest.mark.parametrize("order", list(itertools.permutations([1, 2, 3])), ids=str)
    async def test_a_batch_is_its_records_one_after_another(
        self, backend: Backend, save: Any, order: Sequence[int]
    ) -> None:
        taken = await backend.store.write([save(number) for number in order])

        assert backend.states() == [kept(save(3), first_at_us=START_US + order[0])]
        assert taken == sum(number == max(order[: at + 1]) for at, number in enumerate(order))

    @pytest.mark.parametrize("save", SAVES)
    async def test_a_write_that_comes_again_changes_nothing_and_counts_nothing(
        self, backend: Backend, save: Any
    ) -> None:
        sent = [save(1), save(2)]
        await backend.store.write(sent)
        before = backend.states()

        again = [await backend.store.write(each) for each in (sent, sent[:1], sent[1:], [*sent, *sent])]

        assert again == [0, 0, 0, 0]
        assert backend.states() == before

    @pytest.mark.parametrize("save", SAVES)
    async def test_of_two_saves_under_one_stamp_the_first_stays(self, backend: Backend, save: Any) -> None:
        await backend.store.write([save(1)])

        assert await backend.store.write([save(2)._replace(stamp=stamp(1))]) == 0
        assert backend.states() == [kept(save(1))]

    @pytest.mark.parametrize("save", SAVES)
    async def test_a_stamp_decides_and_no_time(self, backend: Backend, save: Any) -> None:
        """A producer whose wall clock is behind has seen the newer stamp."""
        behind = save(2)._replace(created_at_us=START_US - 500)
        await backend.store.write([save(1)])

        assert await backend.store.write([behind]) == 1
        assert [row.stamp for row in backend.states()] == [stamp(2)]

    async def test_keys_stay_apart(self, backend: Backend) -> None:
        sent: list[Any] = [
            task(1, "x"), task(2, "X"), agent_state(1, "x"), context(1, "x"),
            key_value(1, "x", "n"), key_value(2, "x", "N"), key_value(3, "n", "x"), key_value(4, "x ", "n"),
        ]  # fmt: skip

        assert await backend.store.write(sent) == len(sent)
        assert ordered(list(backend.states())) == ordered([kept(each) for each in sent])

    async def test_many_keys_in_one_batch_all_come_to_be(self, backend: Backend) -> None:
        sent = [make(number, f"{number % 700}") for number in range(1_400) for make in SAVES]

        assert await backend.store.write(sent) == len(sent)
        rows = backend.states()
        assert len(rows) == 4 * 700
        assert {row.stamp for row in rows} == {stamp(number) for number in range(700, 1_400)}

    # Deletions

    @pytest.mark.parametrize("save", SAVES)
    async def test_a_deletion_hides_and_what_is_older_does_not_come_back(self, backend: Backend, save: Any) -> None:
        store, gone = backend.store, deleted(5, save(1))

        taken = [await store.write([each]) for each in (save(1), gone, save(4), gone, save(1))]

        assert taken == [1, 1, 0, 0, 0]
        assert backend.states() == [kept(gone, first_at_us=START_US + 1)]
        assert await readable(store) == []

    @pytest.mark.parametrize("save", SAVES)
    async def test_a_deletion_that_comes_first_keeps_out_what_is_older(self, backend: Backend, save: Any) -> None:
        gone = deleted(5, save(1))

        assert await backend.store.write([gone]) == 1
        assert await backend.store.write([save(4)]) == 0
        assert await readable(backend.store) == []
        assert [row.deleted_at_us for row in backend.states()] == [START_US + 5]

    @pytest.mark.parametrize("save", SAVES)
    async def test_a_save_after_the_deletion_makes_it_anew(self, backend: Backend, save: Any) -> None:
        for each in (save(1), deleted(2, save(1)), save(3)):
            assert await backend.store.write([each]) == 1

        assert [row.deleted_at_us for row in backend.states()] == [None]
        assert len(await readable(backend.store)) == 1
        assert await backend.store.write([deleted(2, save(1))]) == 0
        assert len(await readable(backend.store)) == 1

    @pytest.mark.parametrize("save", SAVES)
    async def test_save_and_deletion_in_one_batch_end_at_the_newer(self, backend: Backend, save: Any) -> None:
        await backend.store.write([deleted(4, save(1)), save(3), save(1)])

        assert await readable(backend.store) == []

        await backend.store.write([save(6), deleted(5, save(1))])

        assert len(await readable(backend.store)) == 1

    async def test_a_deletion_leaves_its_neighbours(self, backend: Backend) -> None:
        await backend.store.write([make(1, key) for make in SAVES for key in ("x", "y")])

        await backend.store.write([deleted(2, make(1, "x")) for make in SAVES])

        assert await readable(backend.store) == ["y"] * len(SAVES)

    # Tasks

    async def test_a_change_of_status_leaves_what_was_saved(self, backend: Backend) -> None:
        saved = task(1, agent_id="a", data=JSON, priority="high", error="none yet")
        await backend.store.write([saved])

        change = task_status(2, "completed", completed_at_us=START_US + 2, result=b"[1]", duration_s=0.25)
        assert await backend.store.write([change]) == 1

        row = kept(
            saved, status="completed", completed_at_us=START_US + 2, result=b"[1]", duration_s=0.25,
            created_at_us=START_US + 2, status_stamp=stamp(2),
        )  # fmt: skip
        assert backend.states() == [row]

    async def test_save_and_status_are_guarded_apart(self, backend: Backend) -> None:
        """The status of 3 stays against the older save of 2, whose other fields are newer than those of 1."""
        store = backend.store
        await store.write([task(1, agent_id="a"), task_status(3, "completed", error="e")])

        assert await store.write([task(2, agent_id="b", status="pending")]) == 1
        assert await store.write([task_status(2, "failed")]) == 0

        shown = await store.task("t")
        assert shown is not None
        assert (shown.agent_id, shown.description, shown.status, shown.error) == ("b", "save 2", "completed", "e")
        assert shown.version == stamp(3).hex()

    async def test_a_newer_save_replaces_the_status_too(self, backend: Backend) -> None:
        await backend.store.write([task(1), task_status(2, "failed", error="e"), task(3, status="pending")])

        shown = await backend.store.task("t")
        assert shown is not None
        assert (shown.status, shown.error, shown.version) == ("pending", None, stamp(3).hex())

    async def test_a_change_of_status_keeps_what_it_does_not_name(self, backend: Backend) -> None:
        await backend.store.write([task_status(1, started_at_us=START_US), task_status(2, "failed", error="e")])

        shown = await backend.store.task("t")
        assert shown is not None
        assert (shown.status, shown.started_at, shown.error) == ("failed", from_us(START_US), "e")

    async def test_a_change_of_status_of_an_unknown_task_makes_it(self, backend: Backend) -> None:
        change = task_status(2, error="e")

        assert await backend.store.write([change]) == 1

        bare = Task(change.id, change.created_at_us, NO_STAMP, "t", "running", error="e")
        assert backend.states() == [kept(bare, status_stamp=stamp(2))]
        assert await backend.store.write([task(1, agent_id="late")]) == 1
        shown = await backend.store.task("t")
        assert shown is not None
        assert (shown.agent_id, shown.status, shown.error) == ("late", "running", "e")
        assert shown.created_at == from_us(START_US + 1)

    async def test_no_change_of_status_brings_a_deleted_task_back(self, backend: Backend) -> None:
        store = backend.store
        await store.write([task(1), deleted(5, task(1))])

        taken = await store.write([task_status(4)])
        await store.write([task_status(6)])

        assert taken == 0
        assert await store.task("t") is None
        assert await readable(store) == []

    @pytest.mark.parametrize("order", list(itertools.permutations(range(5))), ids=str)
    async def test_saves_and_a_change_end_alike_in_any_order(self, backend: Backend, order: Sequence[int]) -> None:
        records: list[StateRecord] = [
            task(1, agent_id="a"), task(2, agent_id="b", error="e"), task_status(3, "failed", error="f"), task(4),
            deleted(5, task(1)),
        ]  # fmt: skip
        for at in order:
            await backend.store.write([records[at]])

        (row,) = backend.states()
        assert row._replace(first_at_us=None) == records[-1]
        assert await backend.store.write(records) == 0
        assert backend.states() == [row]

    # Expiry

    async def test_what_has_expired_is_not_there_for_reading(self, store: SqlStore) -> None:
        ends = START_US + 100
        await store.write([context(1, expires_at_us=ends), key_value(1, expires_at_us=ends), context(2, "lasting")])

        async def seen(now_us: int) -> tuple[bool, bool, int, int, int]:
            contexts = ContextQuery(now_us=now_us)
            return (
                await store.context("c", now_us) is not None,
                await store.key_value("n", "k", now_us) is not None,
                len(await store.contexts(contexts)),
                await store.count_contexts(contexts),
                len(await store.key_values(KeyValueQuery(now_us=now_us, namespace="n"))),
            )

        assert await seen(ends - 1) == (True, True, 2, 2, 1)
        assert await seen(ends) == (False, False, 1, 1, 0)

    async def test_an_expired_row_still_keeps_out_what_is_older(self, backend: Backend) -> None:
        await backend.store.write([context(2, expires_at_us=START_US + 3), key_value(2, expires_at_us=START_US + 3)])

        assert await backend.store.write([context(1), key_value(1)]) == 0
        assert await backend.store.write([context(3), key_value(3)]) == 2
        assert len(await readable(backend.store)) == 2

    # Fields

    async def test_json_comes_back_byte_for_byte(self, backend: Backend) -> None:
        sent: list[Row] = [task(1, data=JSON, result=b" [1.50]"), agent_state(1, stats=JSON), context(1, data=JSON)]
        values = [b'"text"', b"null", b"true", b" 1.0", b"-0", b"[]", JSON]
        sent += [key_value(1, f"k{at}", value=value) for at, value in enumerate(values)]

        await backend.store.write(sent)

        assert ordered(list(backend.states())) == ordered([kept(each) for each in sent])

    async def test_every_field_of_a_task_comes_back_equal(self, backend: Backend) -> None:
        full = task(
            1, status="failed", agent_id="a", task_type="crawl", priority="high", enabled=False, description="d 👩‍🚀",
            data=b'{"a":1}', last_run_at_us=START_US + 1, next_run_at_us=START_US + 2, started_at_us=START_US + 3,
            completed_at_us=253_402_300_799_999_999, duration_s=0.1, result=b"[1]", error="e", normalised=True,
        )  # fmt: skip
        await backend.store.write([full])

        shown = await backend.store.task("t")

        assert backend.states() == [kept(full)]
        assert shown is not None
        assert (shown.id, shown.status, shown.agent_id, shown.task_type) == ("t", "failed", "a", "crawl")
        assert (shown.priority, shown.enabled, shown.description) == ("high", False, "d 👩‍🚀")
        assert (shown.data, shown.result, shown.error, shown.duration_s) == ({"a": 1}, [1], "e", 0.1)
        assert (shown.last_run_at, shown.next_run_at) == (from_us(START_US + 1), from_us(START_US + 2))
        assert (shown.started_at, shown.completed_at) == (from_us(START_US + 3), from_us(253_402_300_799_999_999))
        assert (shown.created_at, shown.updated_at) == (from_us(START_US + 1),) * 2
        assert (shown.version, shown.normalised) == (stamp(1).hex(), True)

    async def test_every_field_of_the_other_kinds_comes_back_equal(self, backend: Backend) -> None:
        state = agent_state(1, state="busy", role="r", backstory="b", last_task_id="t", stats=b'{"n":1}')
        kept_for = context(1, agent_id="a", session_id="s", expires_at_us=FAR_US)
        value = key_value(1, value=b'{"n":[1,null]}', expires_at_us=FAR_US, normalised=True)
        await backend.store.write([state, kept_for, value])

        shown = await backend.store.agent_state("a")
        held = await backend.store.context("c", START_US)
        found = await backend.store.key_value("n", "k", START_US)

        assert shown is not None
        assert held is not None
        assert found is not None
        assert (shown.agent_id, shown.state, shown.role, shown.goal) == ("a", "busy", "r", "save 1")
        assert (shown.backstory, shown.last_task_id, shown.stats) == ("b", "t", {"n": 1})
        assert (held.id, held.agent_id, held.session_id, held.data) == ("c", "a", "s", {"save": 1})
        assert (found.namespace, found.key, found.value, found.normalised) == ("n", "k", {"n": [1, None]}, True)
        assert held.expires_at == found.expires_at == from_us(FAR_US)
        assert {each.version for each in (shown, held, found)} == {stamp(1).hex()}
        assert {each.updated_at for each in (shown, held, found)} == {from_us(START_US + 1)}

    async def test_what_was_saved_first_and_last_is_told(self, store: SqlStore) -> None:
        for each in (agent_state(3), agent_state(5)._replace(created_at_us=START_US + 1), agent_state(7)):
            await store.write([each])

        shown = await store.agent_state("a")

        assert shown is not None
        assert (shown.created_at, shown.updated_at) == (from_us(START_US + 1), from_us(START_US + 7))

    async def test_every_state_but_archived_is_active(self, store: SqlStore) -> None:
        await store.write([agent_state(1, name, state=name) for name in ("idle", "busy", "archived", "Archived")])

        async def ids(query: AgentStateQuery) -> list[str]:
            return [each.agent_id for each in await store.agent_states(query)]

        assert await ids(AgentStateQuery()) == ["Archived", "archived", "busy", "idle"]
        assert await ids(AgentStateQuery(active=True)) == ["Archived", "busy", "idle"]
        assert await ids(AgentStateQuery(active=False)) == ["archived"]

    async def test_what_is_not_there_is_none_of_any_kind(self, store: SqlStore) -> None:
        assert await store.task("t") is None
        assert await store.agent_state("a") is None
        assert await store.context("c", START_US) is None
        assert await store.key_value("n", "k", START_US) is None
        assert await readable(store) == []
        assert await store.count_tasks(TaskQuery()) == await store.count_contexts(ContextQuery(now_us=START_US)) == 0

    # Atomicity

    async def test_a_stale_owner_writes_no_state(self, backend: Backend) -> None:
        await backend.store.write([task(1)], Fence("ns/state:0", 7))

        with pytest.raises(StaleOwner):
            await backend.store.write([make(2) for make in SAVES], Fence("ns/state:0", 6))

        assert backend.states() == [kept(task(1))]

    async def test_a_bad_record_in_a_batch_leaves_no_state_of_it(self, backend: Backend) -> None:
        await backend.store.write([task(1)])

        with pytest.raises(StoreRejected):
            await backend.store.write([*(make(2) for make in SAVES), embedding()])

        assert backend.states() == [kept(task(1))]

    @pytest.mark.parametrize("turns", range(6))
    async def test_a_cancelled_write_of_state_is_all_or_nothing(self, backend: Backend, turns: int) -> None:
        sent = [make(2, key) for make in SAVES for key in ("x", "y")]
        write = asyncio.create_task(backend.store.write(sent))
        for _ in range(turns):
            await asyncio.sleep(0)
        write.cancel()
        await asyncio.wait([write])
        await backend.store.write([task(1, "after")])

        rows = [row for row in backend.states() if row[3] != "after"]
        assert ordered(rows) in ([], ordered([kept(each) for each in sent]))
        assert len(backend.states()) == len(rows) + 1

    async def test_concurrent_writes_of_one_key_end_at_the_newest(self, backend: Backend) -> None:
        numbers = [number * 7 % 40 for number in range(40)]
        async with asyncio.TaskGroup() as group:
            for number in numbers:
                group.create_task(backend.store.write([make(number + 1) for make in SAVES]))

        ended = [row._replace(first_at_us=None) for row in backend.states()]
        assert ordered(ended) == ordered([make(40) for make in SAVES])
