"""What every SQL store does with what has expired, is past its time, or is too much."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.stores.contract import SqlStore
from penstock.stores.queries import ContextQuery, MessageQuery
from penstock.stores.upkeep import FINISHED, Kind
from penstock.testing.conformance.records import START_US, Backend, counted, log, message
from penstock.testing.conformance.state_records import (
    FAR_US,
    SAVES,
    context,
    deleted,
    forgotten,
    hidden,
    kept,
    key_value,
    ordered,
    task,
    task_status,
)
from penstock.wire.ids import id_from_key
from penstock.wire.records import Message, Record, StreamChunk

KINDS: tuple[Kind, ...] = get_args(Kind)

_NUMBERS = st.integers(0, 20)


def _expiring(number: int, by: int) -> list[Record]:
    at_us = START_US + by
    return [
        context(number, f"c{number % 5}", expires_at_us=at_us),
        key_value(number, f"k{number % 5}", expires_at_us=at_us),
    ]


def _task(number: int, status: str) -> list[Record]:
    return [task(number, f"t{number % 5}", status=status)]


_ANY: st.SearchStrategy[Sequence[Record]] = st.one_of(
    st.builds(lambda number, session: [message(number, session), log(number)], _NUMBERS, st.sampled_from("abc")),
    st.builds(_expiring, _NUMBERS, _NUMBERS),
    st.builds(_task, _NUMBERS, st.sampled_from([*FINISHED, "running"])),
    st.builds(lambda number, save: [deleted(number, save(0))], _NUMBERS, st.sampled_from(SAVES)),
    st.builds(lambda number: [forgotten(number, "d"), hidden(number, number + 50, "a")], _NUMBERS),
)


class UpkeepConformance:
    """A part of `SqlStoreConformance`."""

    # What has expired

    @pytest.mark.parametrize(("kind", "save"), [("contexts", context), ("key_values", key_value)])
    async def test_what_has_expired_is_emptied_and_what_has_not_stays(
        self, backend: Backend, kind: Kind, save: Any
    ) -> None:
        later, never = save(2, "later", expires_at_us=START_US + 11), save(3, "never")
        await backend.store.write([save(1, "gone", expires_at_us=START_US + 10), later, never])

        assert await backend.store.count_due(kind, START_US + 10) == 1
        assert await all_removed(backend.store, kind, START_US + 10) == 1

        gone = deleted(1, save(1, "gone"))._replace(deleted_at_us=FAR_US)
        assert ordered(list(backend.states())) == ordered([kept(gone), kept(later), kept(never)])

    async def test_an_older_write_does_not_bring_back_what_has_expired(self, backend: Backend) -> None:
        await backend.store.write([context(5, expires_at_us=START_US + 10)])
        await all_removed(backend.store, "contexts", START_US + 10)

        assert await backend.store.write([context(4), context(5, expires_at_us=START_US + 10)]) == 0
        assert await backend.store.count_contexts(ContextQuery(now_us=0)) == 0

    async def test_a_newer_write_begins_it_anew(self, backend: Backend) -> None:
        await backend.store.write([context(5, expires_at_us=START_US + 10)])
        await all_removed(backend.store, "contexts", START_US + 10)

        assert await backend.store.write([context(6)]) == 1
        found = await backend.store.context("c", FAR_US)
        assert found is not None
        assert found.data == {"save": 6}

    async def test_a_deletion_that_would_expire_stays_one(self, backend: Backend) -> None:
        tombstone = context(5, data=None, deleted_at_us=START_US + 5, expires_at_us=START_US + 7)
        await backend.store.write([tombstone])

        assert await all_removed(backend.store, "contexts", START_US + 10) == 1
        assert [row.deleted_at_us for row in backend.states()] == [START_US + 5]

    # Tombstones

    async def test_tombstones_go_when_they_are_old(self, backend: Backend) -> None:
        old = [deleted(number, save(0)) for number, save in enumerate(SAVES)]
        young = deleted(9, task(0, "young"))
        await backend.store.write([*old, young, forgotten(3, "a"), hidden(3, 7, "b"), forgotten(9, "c")])

        assert await backend.store.count_due("tombstones", START_US + 9) == 6
        assert await all_removed(backend.store, "tombstones", START_US + 9) == 6

        assert backend.states() == [kept(young)]
        assert await backend.store.write([message(3, "a"), message(7, "b"), message(8, "c")]) == 2

    async def test_what_is_not_deleted_is_no_tombstone(self, backend: Backend) -> None:
        await backend.store.write([save(0) for save in SAVES])

        assert await backend.store.count_due("tombstones", FAR_US) == 0
        assert await all_removed(backend.store, "tombstones", FAR_US) == 0
        assert len(backend.states()) == len(SAVES)

    # What is past its time

    async def test_finished_tasks_go_by_their_last_change(self, backend: Backend) -> None:
        done = [task(number, f"t{number}", status=status) for number, status in enumerate(FINISHED)]
        going_on = task(0, "running", status="running")
        late: list[Record] = [task(0, "late"), task_status(9, "completed", "late")]
        await backend.store.write([*done, going_on, *late])

        assert await backend.store.count_due("tasks", START_US + 9) == 3
        assert await all_removed(backend.store, "tasks", START_US + 9) == 3
        assert sorted(row[3] for row in backend.states()) == ["late", "running"]

    async def test_logs_go_by_their_time(self, backend: Backend) -> None:
        await backend.store.write([log(number) for number in range(10)])

        assert await backend.store.count_due("logs", START_US + 7) == 7
        assert await all_removed(backend.store, "logs", START_US + 7) == 7
        assert sorted(backend.logs()) == sorted([log(7), log(8), log(9)])

    async def test_messages_go_with_their_chunks_and_sessions_count_what_is_left(self, backend: Backend) -> None:
        of_streams = [_chunk_of(message(1)), _chunk_of(message(8))]
        left = [message(7, "a"), message(8, "a"), message(9, "b")]
        await backend.store.write([*(message(number, "ac"[number % 2]) for number in range(7)), *left, *of_streams])
        await backend.store.write([hidden(20, 0, "a")])

        assert await backend.store.count_due("messages", START_US + 7) == 7
        assert await all_removed(backend.store, "messages", START_US + 7) == 7

        assert sorted(backend.messages()) == sorted(left)
        assert backend.counts() == counted(left)
        assert [each[0] for each in backend.chunks()] == [message(8).id]

    async def test_a_session_stays_its_users_when_its_first_message_is_gone(self, backend: Backend) -> None:
        await backend.store.write([message(0)._replace(user_id="u", platform="web"), message(1)])

        await all_removed(backend.store, "messages", START_US + 1)

        found = await backend.store.session("s")
        assert found is not None
        assert (found.user_id, found.platform, found.message_count) == ("u", "web", 1)

    async def test_a_session_without_messages_goes_and_may_begin_anew(self, backend: Backend) -> None:
        await backend.store.write([message(0), message(1, "other")])
        await all_removed(backend.store, "messages", START_US + 1)
        assert await backend.store.session("s") is None

        await backend.store.write([message(5), message(6, "third")])

        assert backend.counts() == counted([message(1, "other"), message(5), message(6, "third")])
        assert {each.session_id for each in backend.messages()} == {"s", "other", "third"}

    async def test_messages_that_are_marked_as_deleted_go_too_and_are_not_counted_again(self, backend: Backend) -> None:
        await backend.store.write([message(0), message(1), message(2)])
        await backend.store.write([hidden(9, 1), hidden(9, 2)])

        assert await all_removed(backend.store, "messages", START_US + 2) == 2

        assert [counts.messages for counts in backend.counts().values()] == [0]

    @pytest.mark.parametrize("slice_", [1, 2, 5])
    async def test_messages_of_one_microsecond_leave_their_last_one_last(self, backend: Backend, slice_: int) -> None:
        same = [message(number)._replace(created_at_us=START_US) for number in range(6)]
        await backend.store.write(same)

        left = sorted(same)
        while gone := await backend.store.remove_due("messages", FAR_US, FAR_US, slice_):
            left = left[gone:]
            assert backend.counts() == counted(left)
        assert left == []

    async def test_a_message_that_comes_again_is_counted_and_goes_again(self, backend: Backend) -> None:
        records = [message(0), message(9)]
        await backend.store.write(records)
        await all_removed(backend.store, "messages", START_US + 5)

        assert await backend.store.write(records) == 1
        assert backend.counts() == counted(records)
        assert await all_removed(backend.store, "messages", START_US + 5) == 1
        assert backend.counts() == counted(records[1:])

    # Slices

    async def test_a_slice_is_no_larger_than_asked_for_and_takes_the_oldest(self, backend: Backend) -> None:
        await backend.store.write([log(number) for number in range(5)])

        assert [await backend.store.remove_due("logs", FAR_US, FAR_US, 2) for _ in range(4)] == [2, 2, 1, 0]

    async def test_the_oldest_go_first(self, backend: Backend) -> None:
        await backend.store.write([each(number) for number in range(5) for each in (log, message)])

        for kind in ("logs", "messages"):
            await backend.store.remove_due(kind, FAR_US, FAR_US, 3)

        assert sorted(backend.logs()) == sorted([log(3), log(4)])
        assert sorted(backend.messages()) == sorted([message(3), message(4)])

    async def test_an_empty_store_has_nothing_due(self, store: SqlStore) -> None:
        assert [await store.count_due(kind, FAR_US) for kind in KINDS] == [0] * len(KINDS)
        assert [await store.remove_due(kind, FAR_US, FAR_US, 10) for kind in KINDS] == [0] * len(KINDS)

    async def test_what_is_tidy_needs_no_more(self, store: SqlStore) -> None:
        await store.tidy(FAR_US)

        assert await store.tidy(FAR_US) == {}

    # One test for several backends is the point of a contract, not an accident.
    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
    @given(records=st.lists(_ANY, max_size=20), before=st.integers(0, 25), slice_=st.integers(1, 7))
    async def test_what_is_counted_is_what_goes_and_nothing_changes_by_counting(
        self, records: list[Sequence[Record]], before: int, slice_: int
    ) -> None:
        """In the order of a run: what one kind leaves is no other kind's in the same run."""
        async with self.fresh() as backend:  # type: ignore[attr-defined] # of SqlStoreConformance
            await backend.store.write([each for some in records for each in some])
            seen = everything(backend)
            due = {kind: await backend.store.count_due(kind, START_US + before) for kind in KINDS}
            assert everything(backend) == seen

            gone = {kind: await all_removed(backend.store, kind, START_US + before, slice_) for kind in KINDS}

            assert gone == due
            live = [each for each in backend.messages() if each.deleted_at_us is None]
            counts = {session: each.messages for session, each in backend.counts().items() if each.messages}
            assert counts == {session: each.messages for session, each in counted(live).items()}
            assert len(await backend.store.messages(MessageQuery(until_us=START_US + before))) == 0


async def all_removed(store: SqlStore, kind: Kind, before_us: int, slice_: int = 3) -> int:
    """How many went, slice by slice."""
    total = 0
    while gone := await store.remove_due(kind, before_us, FAR_US, slice_):
        assert gone <= slice_
        total += gone
    return total


def everything(backend: Backend) -> Sequence[object]:
    states = ordered(list(backend.states()))
    return sorted(backend.messages()), sorted(backend.logs()), backend.counts(), list(backend.chunks()), states


def _chunk_of(of: Message) -> StreamChunk:
    return StreamChunk(id_from_key(f"chunk of {of.id!r}"), START_US, of.session_id, "assistant", of.id, 0, 1, "tok")
