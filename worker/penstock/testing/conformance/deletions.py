"""What every SQL store does with deletions of messages and sessions, early, late and again."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence

import pytest

from penstock.stores.contract import Fence, SqlStore
from penstock.stores.errors import StaleOwner, StoreRejected
from penstock.stores.queries import MessageQuery, SessionQuery
from penstock.testing.conformance.records import START_US, Backend, Counts, embedding, log, message
from penstock.testing.conformance.state_records import forgotten, hidden, task
from penstock.wire.ids import format_id, from_us, id_from_key
from penstock.wire.records import Message, Record, StreamChunk


class DeletionConformance:
    """A part of `SqlStoreConformance`."""

    # One message

    async def test_a_deleted_message_is_hidden_and_stays_for_those_who_ask(self, backend: Backend) -> None:
        store = backend.store
        await store.write([message(0), message(1), message(2)])

        assert await store.write([hidden(9, 1)]) == 1

        assert await _numbers(store, MessageQuery(session_id="s")) == [0, 2]
        assert await _numbers(store, MessageQuery()) == [0, 2]
        assert await _numbers(store, MessageQuery(session_id="s", include_deleted=True)) == [0, 1, 2]
        shown = await store.message(message(1).id)
        assert shown is not None
        assert (shown.deleted, shown.deleted_at, shown.content) == (True, from_us(START_US + 9), "text 1")

    async def test_a_deletion_takes_one_from_the_session_once(self, backend: Backend) -> None:
        store = backend.store
        await store.write([message(0), message(1)])

        taken = [await store.write(each) for each in ([hidden(9, 1)], [hidden(9, 1)] * 2, [message(1)], [hidden(8, 1)])]

        assert taken == [1, 0, 0, 0]
        assert _count(backend) == 1
        assert [each.deleted_at_us for each in sorted(backend.messages())] == _marks({1: START_US + 9}, 2)

    async def test_a_deletion_may_come_before_its_message(self, backend: Backend) -> None:
        store = backend.store
        taken = [await store.write([each]) for each in (hidden(9, 1), hidden(9, 1), message(0), message(1), message(1))]

        assert taken == [1, 0, 1, 1, 0]
        assert await _numbers(store, MessageQuery(session_id="s")) == [0]
        assert await _numbers(store, MessageQuery(include_deleted=True)) == [0, 1]
        assert _count(backend) == 1
        assert await store.write([hidden(9, 1)]) == 0

    async def test_of_two_deletions_the_first_one_stays_wherever_the_message_comes(self, backend: Backend) -> None:
        for at in range(3):
            records: list[Record] = [hidden(7, at), hidden(9, at)]
            records.insert(at, message(at))
            for each in records:
                await backend.store.write([each])

        assert {each.deleted_at_us for each in backend.messages()} == {START_US + 7}
        assert _count(backend) == 0

    async def test_deletion_and_message_in_one_batch(self, backend: Backend) -> None:
        assert await backend.store.write([message(0), hidden(9, 0), hidden(9, 1), message(1), message(2)]) == 5

        assert await _numbers(backend.store, MessageQuery()) == [2]
        assert _count(backend) == 1

    async def test_a_message_of_another_session_is_not_meant(self, backend: Backend) -> None:
        """Before or after the message, the deletion is the same: nobody hides what is of another session."""
        await backend.store.write([message(0), hidden(9, 0, "other"), hidden(9, 1, "other")])
        await backend.store.write([message(1), hidden(9, 0, "other")])

        assert await _numbers(backend.store, MessageQuery()) == [0, 1]
        assert _count(backend) == 2

    async def test_a_replaced_message_of_a_stream_stays_deleted(self, backend: Backend) -> None:
        store = backend.store
        part = message(0)._replace(content="par", state="streaming", version=1)
        await store.write([part, message(1)])
        await store.write([hidden(9, 0)])

        assert await store.write([part._replace(content="part", state=None, version=5)]) == 1

        assert await _numbers(store, MessageQuery()) == [1]
        shown = await store.message(part.id)
        assert shown is not None
        assert (shown.content, shown.deleted_at) == ("part", from_us(START_US + 9))
        assert _count(backend) == 1

    async def test_a_stream_deleted_before_it_came_stays_deleted_through_its_versions(self, backend: Backend) -> None:
        versions = [message(0)._replace(content=f"v{version}", version=version) for version in (1, 2, 3)]
        await backend.store.write([hidden(9, 0), versions[0]])
        await backend.store.write(versions[1:])

        assert [(each.content, each.deleted_at_us) for each in backend.messages()] == [("v3", START_US + 9)]
        assert _count(backend) == 0

    async def test_a_message_that_came_with_its_mark_is_not_counted(self, backend: Backend) -> None:
        marked = message(0)._replace(deleted_at_us=START_US + 5)
        await backend.store.write([marked, message(1)])

        assert await backend.store.write([hidden(9, 0)]) == 0
        assert _count(backend) == 1
        assert sorted(backend.messages())[0 if marked.id < message(1).id else 1] == marked

    async def test_a_version_with_a_mark_shrinks_its_session_once(self, backend: Backend) -> None:
        marked = message(0)._replace(deleted_at_us=START_US + 5, version=1)
        await backend.store.write([message(0), message(1)])

        taken = [await backend.store.write(each) for each in ([marked], [marked], [hidden(9, 0)])]

        assert taken == [1, 0, 0]
        assert _count(backend) == 1

    # A whole session

    async def test_a_deleted_session_is_gone_with_all_that_was_in_it(self, backend: Backend) -> None:
        await backend.store.write([message(0), message(1), *_stream(), message(2, "other"), log(0), task(0)])

        assert await backend.store.write([forgotten(9)]) == 1

        assert backend.messages() == [message(2, "other")]
        assert backend.chunks() == []
        assert list(backend.counts()) == ["other"]
        assert await backend.store.session("s") is None
        assert [each.id for each in await backend.store.sessions(SessionQuery())] == ["other"]
        assert (len(backend.logs()), len(backend.states())) == (1, 1)

    async def test_chunks_of_other_sessions_stay(self, backend: Backend) -> None:
        mine, other = _stream(), _stream("other", 30)
        await backend.store.write([*mine, *other])

        await backend.store.write([forgotten(9)])

        assert {stream for stream, _, _ in backend.chunks()} == {other[0].id}

    async def test_what_was_created_before_the_deletion_does_not_come_late(self, backend: Backend) -> None:
        store = backend.store
        await store.write([forgotten(9)])

        assert await store.write([message(0), message(9), *_stream()]) == 0
        assert await store.write([message(5)._replace(version=3), *_stream()]) == 0

        assert backend.messages() == []
        assert backend.chunks() == []
        assert backend.counts() == {}

    async def test_chunks_that_came_before_the_deletion_go_with_their_late_message(self, backend: Backend) -> None:
        """While a stream is open there are only chunks, of which no table tells the session."""
        whole, *chunks = _stream()
        await backend.store.write(chunks)

        await backend.store.write([forgotten(9)])
        await backend.store.write([whole])

        assert backend.messages() == []
        assert backend.chunks() == []

    async def test_what_is_created_after_the_deletion_begins_the_session_anew(self, backend: Backend) -> None:
        store = backend.store
        await store.write([message(0, user_id="ada", platform="web"), message(1)])
        await store.write([forgotten(9)])

        assert await store.write([message(10), message(2), message(11, user_id="bob")]) == 2

        session = await store.session("s")
        assert session is not None
        assert (session.user_id, session.platform, session.message_count) == ("bob", None, 2)
        assert (session.first_message_at, session.last_message_at) == (from_us(START_US + 10), from_us(START_US + 11))
        assert session.last_message_id == format_id(message(11).id)

    async def test_a_late_deletion_leaves_what_was_created_after_it(self, backend: Backend) -> None:
        newer = [message(10, user_id="bob"), message(12, platform="app"), *_stream(at=11)]
        await backend.store.write([message(0, user_id="ada"), message(1, platform="web"), *newer, hidden(20, 12)])
        chunks = backend.chunks()

        assert await backend.store.write([forgotten(9)]) == 1

        session = await backend.store.session("s")
        assert session is not None
        assert (session.user_id, session.platform) == ("bob", "app")
        assert backend.counts() == {"s": Counts(2, START_US + 10, START_US + 12, message(12).id)}
        assert backend.chunks() == chunks

    async def test_a_deletion_that_comes_again_takes_nothing(self, backend: Backend) -> None:
        await backend.store.write([message(0), forgotten(9), message(10)])

        taken = [await backend.store.write([each]) for each in (forgotten(9), forgotten(8), message(0), hidden(7, 0))]

        assert taken == [0, 0, 0, 0]
        assert backend.messages() == [message(10)]
        assert _count(backend) == 1

    async def test_a_later_deletion_counts_from_then_on(self, backend: Backend) -> None:
        for each in (message(0), forgotten(9), message(10), forgotten(15)):
            assert await backend.store.write([each]) == 1

        assert await backend.store.write([message(10), message(15), message(16)]) == 1
        assert backend.messages() == [message(16)]

    async def test_deletion_and_messages_of_a_session_in_one_batch(self, backend: Backend) -> None:
        await backend.store.write([message(1), forgotten(9), message(0), *_stream(), message(10), message(2, "other")])

        assert sorted(backend.messages()) == sorted([message(10), message(2, "other")])
        assert backend.chunks() == []
        assert {each: counts.messages for each, counts in backend.counts().items()} == {"s": 1, "other": 1}

    @pytest.mark.parametrize("order", list(itertools.permutations(range(4))), ids=str)
    async def test_any_order_and_any_repeat_ends_alike(self, backend: Backend, order: Sequence[int]) -> None:
        batches: list[list[Record]] = [
            [message(0), message(10), *_stream()],
            [hidden(12, 10), hidden(8, 0)],
            [forgotten(9)],
            [message(11), message(1), message(3, "other")],
        ]
        for at in order:
            await backend.store.write(batches[at])
        before = backend.messages(), backend.counts(), backend.chunks()

        again = [await backend.store.write(batch) for batch in (*batches, *reversed(batches))]

        assert again == [0] * 8
        assert (backend.messages(), backend.counts(), backend.chunks()) == before
        marked = message(10)._replace(deleted_at_us=START_US + 12)
        assert sorted(before[0]) == sorted([marked, message(11), message(3, "other")])
        assert before[1] == {
            "s": Counts(1, START_US + 10, START_US + 11, message(11).id),
            "other": Counts(1, START_US + 3, START_US + 3, message(3).id),
        }
        assert before[2] == []

    async def test_sessions_made_and_deleted_in_turn_keep_their_own_messages(self, backend: Backend) -> None:
        """A backend may give the number of a deleted session to the next one."""
        for turn in range(6):
            await backend.store.write([message(turn, f"s{turn}"), message(turn + 100, f"s{turn + 1}")])
            await backend.store.write([forgotten(turn + 50, f"s{turn}")])
            await backend.store.write([message(turn + 200, f"s{turn}")])

        found = {
            session: await _numbers(backend.store, MessageQuery(session_id=session)) for session in backend.counts()
        }
        assert found == {**{f"s{turn}": [turn + 100 - 1, turn + 200] for turn in range(1, 6)}, "s0": [200], "s6": [105]}
        assert {session: counts.messages for session, counts in backend.counts().items()} == {
            session: len(numbers) for session, numbers in found.items()
        }

    # Atomicity

    async def test_a_stale_owner_deletes_nothing(self, backend: Backend) -> None:
        await backend.store.write([message(0), message(1)], Fence("ns/messages:0", 7))

        for deletion in (hidden(9, 0), forgotten(9)):
            with pytest.raises(StaleOwner):
                await backend.store.write([deletion], Fence("ns/messages:0", 6))

        assert await _numbers(backend.store, MessageQuery()) == [0, 1]
        assert await backend.store.write([message(2)]) == 1

    async def test_a_bad_record_in_a_batch_deletes_nothing_of_it(self, backend: Backend) -> None:
        await backend.store.write([message(0), message(1)])

        with pytest.raises(StoreRejected):
            await backend.store.write([hidden(9, 0), forgotten(9), message(10), embedding()])

        assert await _numbers(backend.store, MessageQuery()) == [0, 1]
        assert await backend.store.write([message(2)]) == 1
        assert _count(backend) == 3

    @pytest.mark.parametrize("turns", range(6))
    async def test_a_cancelled_deletion_is_all_or_nothing(self, backend: Backend, turns: int) -> None:
        await backend.store.write([message(0), message(1)])
        write = asyncio.create_task(backend.store.write([forgotten(9), message(10), message(11)]))
        for _ in range(turns):
            await asyncio.sleep(0)
        write.cancel()
        await asyncio.wait([write])
        await backend.store.write([message(12)])

        numbers = await _numbers(backend.store, MessageQuery())
        assert numbers in ([0, 1, 12], [10, 11, 12])
        assert _count(backend) == 3

    async def test_concurrent_deletions_and_messages_leave_an_exact_count(self, backend: Backend) -> None:
        batches: list[list[Record]] = [[message(number), message(number + 40)] for number in range(40)]
        batches += [[hidden(200 + number, number)] for number in range(0, 80, 5)]
        batches += [[forgotten(20)], [forgotten(10)]]
        async with asyncio.TaskGroup() as group:
            for at in range(len(batches)):
                group.create_task(backend.store.write(batches[at * 23 % len(batches)]))

        assert await _numbers(backend.store, MessageQuery()) == [n for n in range(21, 80) if n % 5]
        assert _count(backend) == len([n for n in range(21, 80) if n % 5])


def _stream(session: str = "s", at: int = 2) -> list[Message | StreamChunk]:
    """A message that came as a stream, opened at that time, and its chunks."""
    stream = id_from_key(f"stream {session} {at}")
    chunks = [
        StreamChunk(
            id_from_key(f"chunk {session} {at} {seq}"), START_US + at, session, "assistant", stream, seq, 1, "t"
        )
        for seq in range(3)
    ]
    return [Message(stream, START_US + at, session, "assistant", f"text {at}", version=11), *chunks]


async def _numbers(store: SqlStore, query: MessageQuery) -> list[int]:
    """The numbers of the messages that a query finds; as many as its count tells."""
    found = await store.messages(query)
    assert await store.count_messages(query) == len(found)
    return [int((each.content or "").removeprefix("text ")) for each in found]


def _count(backend: Backend, session: str = "s") -> int:
    return backend.counts()[session].messages


def _marks(marks: dict[int, int], messages: int) -> list[int | None]:
    """Of messages that are sorted by id."""
    return [marks.get(number) for number in sorted(range(messages), key=lambda number: message(number).id)]
