"""What a store that is used without a queue keeps to, whatever its backend."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest

from penstock.direct import (
    DirectStore,
    StoreNotOpen,
    TransactionEnded,
    TransactionTooLarge,
    open_store,
)
from penstock.direct import transaction as transactions
from penstock.stores import StoreRejected
from penstock.wire.errors import InvalidRecord, RecordTooLarge
from penstock.wire.ids import new_id
from penstock.wire.records import MAX_RECORD_BYTES, Embedding, Message


class Refused(Exception):
    """What a caller's own code raises in a block."""


class DirectContract:
    """Every SQL backend passes every test here, unchanged. A binding brings `store`, open, and `url`."""

    # Calls

    async def test_what_a_call_returns_is_the_id_by_which_it_is_read_back(self, store: DirectStore) -> None:
        message = await store.message(session_id="s", role="user", content="Hello", metadata={"a": 1})
        log = await store.log(level="info", event="started", agent_id="a")
        task = await store.task(task_id="t", status="pending", agent_id="a")
        state = await store.agent_state(agent_id="a", state="busy")
        context = await store.context(context_id="c", data={"k": "v"})
        key = await store.key_value(key="k", value=[1, 2])

        reader = store.reader
        found = await reader.message(message)
        assert found is not None
        assert (found.content, found.metadata) == ("Hello", {"a": 1})
        assert [each.id for each in await reader.logs(agent_id="a")] == [log]
        assert (task, state, context, key) == ("t", "a", "c", "k")
        assert (await reader.task(task)) is not None
        assert (await reader.agent_state(state)) is not None
        assert (await reader.context(context)) is not None
        assert (await reader.value(key)) == [1, 2]

    async def test_a_second_save_replaces_the_first(self, store: DirectStore) -> None:
        await store.task(task_id="t", status="pending", description="first")
        await store.task_status(task_id="t", status="running")
        await store.task(task_id="t", status="pending", description="second")
        await store.task_status(task_id="t", status="completed", result={"ok": True})

        task = await store.reader.task("t")
        assert task is not None
        assert (task.description, task.status, task.result) == ("second", "completed", {"ok": True})
        assert await store.reader.count_tasks() == 1

    async def test_the_same_message_twice_is_one(self, store: DirectStore) -> None:
        own = UUID(int=7)
        for _ in range(2):
            assert await store.message(session_id="s", role="user", content="Hi", id=own) == str(own)

        assert await store.reader.count_messages("s") == 1

    async def test_what_is_deleted_is_gone(self, store: DirectStore) -> None:
        kept = await store.message(session_id="kept", role="user", content="1")
        marked = await store.message(session_id="kept", role="user", content="2")
        await store.message(session_id="gone", role="user", content="3")
        await store.task(task_id="t")
        await store.context(context_id="c", data={})
        await store.key_value(key="k", value=None)
        await store.agent_state(agent_id="a")

        told = [
            await store.delete_message(marked, session_id="kept"),
            await store.delete_session("gone"),
            await store.delete_task("t"),
            await store.delete_context("c"),
            await store.delete_key_value("k"),
            await store.delete_agent_state("a"),
        ]
        reader = store.reader
        assert told == [marked, "gone", "t", "c", "k", "a"]
        assert [each.id for each in await reader.messages()] == [kept]
        assert await reader.session("gone") is None
        assert await reader.task("t") is None
        assert await reader.context("c") is None
        assert await reader.key_value("k") is None
        assert await reader.agent_state("a") is None

    async def test_a_wrong_call_stores_nothing_and_says_what_is_wrong(self, store: DirectStore) -> None:
        with pytest.raises(InvalidRecord, match="session_id"):
            await store.message(session_id="", role="user")

        assert await store.reader.count_messages() == 0

    async def test_what_fits_into_no_frame_is_refused_here_too(self, store: DirectStore) -> None:
        with pytest.raises(RecordTooLarge):
            await store.message(session_id="s", role="user", content="x" * MAX_RECORD_BYTES)

        assert await store.reader.count_messages() == 0

    async def test_records_are_written_as_they_are(self, store: DirectStore) -> None:
        records = [Message(new_id(), 1_750_000_000_000_000 + number, "s", "user", str(number)) for number in range(3)]

        assert await store.write(records) == 3
        assert await store.write(records) == 0
        assert [each.content for each in await store.reader.messages("s")] == ["0", "1", "2"]

    async def test_calls_of_many_tasks_are_all_stored(self, store: DirectStore) -> None:
        async with asyncio.TaskGroup() as tasks:
            for number in range(50):
                tasks.create_task(_as_task(store, number))

        assert await store.reader.count_messages("s") == 50

    # Transactions

    async def test_a_block_takes_effect_as_a_whole_at_its_end(self, store: DirectStore) -> None:
        async with store.transaction() as tx:
            first = tx.message(session_id="s", role="user", content="1")
            second = tx.message(session_id="s", role="assistant", content="2")
            task = tx.task(task_id="t", status="running")
            assert len(tx) == 3
            assert await store.reader.count_messages("s") == 0
            assert await store.reader.task(task) is None

        assert [each.id for each in await store.reader.messages("s")] == [first, second]
        assert await store.reader.task(task) is not None

    async def test_an_exception_in_a_block_rolls_it_back(self, store: DirectStore) -> None:
        with pytest.raises(Refused):
            await _refused_within(store)

        assert (await store.totals()).messages == 0

    async def test_a_transaction_may_be_ended_by_hand(self, store: DirectStore) -> None:
        kept, dropped = store.begin(), store.begin()
        for tx in (kept, dropped):
            tx.log(level="info", event="seen", id=new_id())

        assert await kept.commit() == 1
        await dropped.rollback()
        assert await store.reader.count_logs() == 1

    async def test_a_transaction_that_has_ended_takes_nothing_more(self, store: DirectStore) -> None:
        committed, rolled_back = store.begin(), store.begin()
        await committed.commit()
        await rolled_back.rollback()

        for tx, word in ((committed, "committed"), (rolled_back, "rolled back")):
            with pytest.raises(TransactionEnded, match=word):
                tx.log(level="info", event="late")
            with pytest.raises(TransactionEnded, match=word):
                await tx.commit()
            with pytest.raises(TransactionEnded, match=word):
                await tx.rollback()

    async def test_a_block_may_end_its_transaction_itself(self, store: DirectStore) -> None:
        async with store.transaction() as tx:
            tx.log(level="info", event="seen")
            await tx.rollback()

        assert await store.reader.count_logs() == 0

    async def test_one_refused_record_keeps_out_all(self, store: DirectStore) -> None:
        tx = store.begin()
        tx.message(session_id="s", role="user", content="1")
        tx._records.append(Embedding(new_id(), 1, "c", "k", b"\0\0\0\0"))

        with pytest.raises(StoreRejected):
            await tx.commit()
        with pytest.raises(TransactionEnded):
            await tx.commit()
        assert await store.reader.count_messages() == 0

    async def test_what_is_committed_is_newer_than_what_was_stored_before(self, store: DirectStore) -> None:
        async with store.transaction() as tx:
            tx.task(task_id="t", status="running")
            await store.task(task_id="t", status="pending")

        task = await store.reader.task("t")
        assert task is not None
        assert task.status == "running"

    async def test_a_deletion_and_what_follows_it_keep_their_order(self, store: DirectStore) -> None:
        await store.message(session_id="s", role="user", content="old")
        async with store.transaction() as tx:
            tx.message(session_id="s", role="user", content="also old")
            tx.delete_session("s")
            tx.message(session_id="s", role="user", content="new")
            tx.task(task_id="t")
            tx.delete_task("t")

        assert [each.content for each in await store.reader.messages("s")] == ["new"]
        assert await store.reader.task("t") is None

    async def test_a_transaction_is_bounded(self, store: DirectStore, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(transactions, "MAX_RECORDS", 2)
        async with store.transaction() as tx:
            tx.log(level="info", event="1")
            tx.log(level="info", event="2")
            with pytest.raises(TransactionTooLarge, match="takes 2 records"):
                tx.log(level="info", event="3")
            monkeypatch.setattr(transactions, "MAX_RECORDS", 9)
            monkeypatch.setattr(transactions, "MAX_BYTES", 1_000)
            with pytest.raises(TransactionTooLarge, match="1,000 bytes"):
                tx.log(level="info", event="4", message="x" * 1_000)

        assert await store.reader.count_logs() == 2

    @pytest.mark.parametrize("turns", range(4))
    async def test_a_cancelled_commit_is_all_or_nothing_and_may_be_repeated(
        self, store: DirectStore, turns: int
    ) -> None:
        tx = store.begin()
        for number in range(100):
            tx.message(session_id="s", role="user", content=str(number))
        commit = asyncio.create_task(tx.commit())
        for _ in range(turns):
            await asyncio.sleep(0)
        commit.cancel()
        await asyncio.wait([commit])

        if commit.cancelled():
            assert await store.reader.count_messages("s") in (0, 100)
            await tx.commit()
        assert await store.reader.count_messages("s") == 100

    # Opening and closing

    async def test_a_store_is_opened_by_the_first_task_and_closed_by_the_last(self, url: str) -> None:
        store = open_store(url)
        entered = asyncio.Barrier(3)

        async def use(number: int) -> None:
            async with store:
                await entered.wait()
                await store.log(level="info", event=str(number))

        async with asyncio.TaskGroup() as tasks:
            for number in range(3):
                tasks.create_task(use(number))

        with pytest.raises(StoreNotOpen, match="closed"):
            await store.log(level="info", event="late")

    async def test_a_store_that_is_not_open_says_so(self, url: str) -> None:
        store = open_store(url)

        with pytest.raises(StoreNotOpen, match="async with"):
            await store.log(level="info", event="early")
        with pytest.raises(StoreNotOpen, match="async with"):
            store.begin()
        assert not (await store.health()).healthy
        await store.close()
        with pytest.raises(StoreNotOpen, match="closed"):
            await store.open()

    async def test_an_open_transaction_ends_with_its_store(self, url: str) -> None:
        async with open_store(url) as store:
            tx = store.begin()
            tx.log(level="info", event="late")

        with pytest.raises(StoreNotOpen):
            await tx.commit()

    # Health and totals

    async def test_a_store_that_is_well_says_so_check_by_check(self, store: DirectStore) -> None:
        health = await store.health()

        assert health.healthy
        assert health.checks[0].name == "answers"
        assert all(check.detail and check.latency_ms >= 0 for check in health.checks)
        assert (await store.totals()).messages == 0  # what was written to see whether it can be is gone

    async def test_totals_count_every_table(self, store: DirectStore) -> None:
        for number in range(3):
            await store.message(session_id=f"s{number % 2}", role="user", content=str(number))
            await store.task(task_id=f"t{number}")
        await store.log(level="info", event="seen")
        await store.agent_state(agent_id="a")
        await store.context(context_id="c", data={})
        await store.key_value(key="k", value=1)

        totals = await store.totals()
        assert (totals.messages, totals.sessions, totals.logs) == (3, 2, 1)
        assert (totals.tasks, totals.agent_states, totals.contexts, totals.key_values) == (3, 1, 1, 1)
        assert totals.exact
        assert totals.uptime_s > 0
        assert totals.bytes is None or totals.bytes > 0


async def _as_task(store: DirectStore, number: int) -> None:
    await store.message(session_id="s", role="user", content=str(number))


async def _refused_within(store: DirectStore) -> None:
    async with store.transaction() as tx:
        tx.message(session_id="s", role="user", content="1")
        raise Refused
