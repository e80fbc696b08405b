"""What every SQL store does. One class; a backend gives construction and a reader that goes round the store."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.stores.contract import Fence, SqlStore
from penstock.stores.errors import StaleOwner, StoreRejected, StoreUnavailable
from penstock.stores.rows import LogQuery, MessageQuery, Position, SessionQuery
from penstock.wire.ids import format_id, from_us, id_from_key, parse_id
from penstock.wire.records import Embedding, LogEvent, Message, StreamChunk

START_US = 1_750_000_000_000_000

TEXTS = ["", "plain", "Grüße, 世界", "👩‍🚀 \U0010ffff", "tab\tline\nquote'\"\\", "x" * 100_000]
NAME = "ж" * 255


class Counts(NamedTuple):
    """A session's counters, as the backend keeps them."""

    messages: int
    first_at_us: int
    last_at_us: int
    last_id: bytes


class Backend(NamedTuple):
    """One place of a backend: the store under test, and the same place seen past it."""

    store: SqlStore
    messages: Callable[[], Sequence[Message]]
    logs: Callable[[], Sequence[LogEvent]]
    counts: Callable[[], dict[str, Counts]]


def message(number: int, session: str = "s", **fields: Any) -> Message:
    """The message with that number: always the same id and time."""
    return Message(id_from_key(f"m{number}"), START_US + number, session, "user", f"text {number}", **fields)


def log(number: int, **fields: Any) -> LogEvent:
    return LogEvent(id_from_key(f"l{number}"), START_US + number, **{"level": 20, "event": "step", **fields})


def chunk(seq: int, text: str = "tok") -> StreamChunk:
    return StreamChunk(id_from_key(f"c{seq}"), START_US, "s", "assistant", id_from_key("stream"), seq, 1, text)


def embedding() -> Embedding:
    return Embedding(id_from_key("e"), START_US, "docs", "key", b"\0\0\0\0")


def counted(messages: Sequence[Message]) -> dict[str, Counts]:
    """The counters that *messages*, all different, must lead to."""
    sessions: dict[str, list[Message]] = {}
    for each in messages:
        sessions.setdefault(each.session_id, []).append(each)
    return {
        session: Counts(
            len(all_),
            min(each.created_at_us for each in all_),
            *max((each.created_at_us, each.id) for each in all_),
        )
        for session, all_ in sessions.items()
    }


class SqlStoreConformance:
    """Every SQL store passes every test here, unchanged."""

    @asynccontextmanager
    async def fresh(self) -> AsyncIterator[Backend]:
        """An empty backend, set up, closed afterwards. For tests that need several."""
        raise NotImplementedError
        yield

    @pytest.fixture
    async def backend(self) -> AsyncIterator[Backend]:
        async with self.fresh() as backend:
            yield backend

    @pytest.fixture
    def store(self, backend: Backend) -> SqlStore:
        return backend.store

    # Writing

    async def test_what_is_written_is_there(self, backend: Backend) -> None:
        new = await backend.store.write([message(0), log(0), chunk(0)])

        assert new == 3
        assert backend.messages() == [message(0)]
        assert backend.logs() == [log(0)]

    async def test_an_empty_batch_is_nothing_new(self, store: SqlStore) -> None:
        assert await store.write([]) == 0

    async def test_the_first_write_of_an_id_wins(self, backend: Backend) -> None:
        await backend.store.write([message(0), log(0)])

        assert await backend.store.write([message(0)._replace(content="other"), log(0, message="other")]) == 0
        assert backend.messages() == [message(0)]
        assert backend.logs() == [log(0)]

    async def test_an_id_that_comes_again_under_another_session_makes_no_session(self, backend: Backend) -> None:
        await backend.store.write([message(0, "first")])

        await backend.store.write([message(0, "second"), message(1, "third")])
        await backend.store.write([message(2, "third")])

        kept = [message(0, "first"), message(1, "third"), message(2, "third")]
        assert backend.messages() == kept
        assert backend.counts() == counted(kept)
        assert await backend.store.session("second") is None

    async def test_an_id_twice_in_one_batch_counts_once(self, backend: Backend) -> None:
        new = await backend.store.write([message(0), message(1), message(0), chunk(0), chunk(0), log(0), log(0)])

        assert new == 4
        assert backend.counts() == counted([message(0), message(1)])

    # One test for several backends is the point of a contract, not an accident.
    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
    @given(
        deliveries=st.lists(
            st.lists(st.tuples(st.integers(0, 9), st.sampled_from([0, 0, 0, 1, 2])), max_size=6), max_size=6
        )
    )
    def test_redelivery_in_any_order_keeps_rows_and_counters_exact(
        self, deliveries: list[list[tuple[int, int]]]
    ) -> None:
        """Each delivery is a batch of (message number, version)."""
        asyncio.run(self._deliver(deliveries))

    async def _deliver(self, deliveries: list[list[tuple[int, int]]]) -> None:
        model: dict[int, Message] = {}
        taken = new = 0
        async with self.fresh() as backend:
            for batch in deliveries:
                sent = [message(n, f"s{n % 3}")._replace(content=f"{n} v{v}", version=v) for n, v in batch]
                new += await backend.store.write(sent)
                for (number, version), each in zip(batch, sent, strict=True):
                    if number not in model or version > model[number].version:
                        model[number] = each
                        taken += 1
            assert new == taken
            assert sorted(backend.messages()) == sorted(model.values())
            assert backend.counts() == counted(list(model.values()))

    async def test_a_higher_version_replaces_and_a_lower_or_equal_one_does_not(self, backend: Backend) -> None:
        part = message(0)._replace(content="par", state="streaming", version=2)
        whole = message(0)._replace(content="part", state=None, version=4, metadata=b'{"a":1}', user_id="u")
        store = backend.store

        new = [await store.write([each]) for each in (part, whole, part, whole._replace(content="not newer"))]

        assert new == [1, 1, 0, 0]
        assert backend.messages() == [whole]
        assert backend.counts() == counted([whole])

    async def test_versions_in_one_batch_end_at_the_highest(self, backend: Backend) -> None:
        versions = [message(0)._replace(content=f"v{version}", version=version) for version in (1, 3, 2)]

        assert await backend.store.write([message(1), *versions]) == 3
        assert sorted(backend.messages()) == sorted([message(1), versions[1]])
        assert backend.counts() == counted([message(0), message(1)])

    async def test_a_replaced_message_keeps_its_place(self, backend: Backend) -> None:
        await backend.store.write([message(0)._replace(version=1)])

        await backend.store.write([message(0, "other")._replace(created_at_us=START_US + 9, content="b", version=2)])

        assert backend.messages() == [message(0)._replace(content="b", version=2)]
        assert backend.counts() == counted([message(0)])

    async def test_of_two_messages_of_one_microsecond_the_greater_id_is_the_last(self, backend: Backend) -> None:
        same = [message(number)._replace(created_at_us=START_US) for number in range(6)]
        for each in same:
            await backend.store.write([each])

        assert backend.counts() == counted(same)

    async def test_a_session_is_its_first_named_users(self, store: SqlStore) -> None:
        await store.write([message(0), message(1, user_id="ada", platform="web")])
        await store.write([message(2, user_id="bob", platform="app")])

        session = await store.session("s")

        assert session is not None
        assert (session.user_id, session.platform, session.message_count) == ("ada", "web", 3)

    async def test_a_bad_record_in_a_batch_leaves_nothing_of_it(self, backend: Backend) -> None:
        await backend.store.write([message(0)])

        with pytest.raises(StoreRejected):
            await backend.store.write([message(1), message(2, "t"), log(0), chunk(0), embedding()])

        assert backend.messages() == [message(0)]
        assert backend.logs() == []
        assert backend.counts() == counted([message(0)])

    # Fences

    async def test_a_stale_owner_writes_nothing(self, backend: Backend) -> None:
        await backend.store.write([message(0)], Fence("ns/messages:0", 7))

        with pytest.raises(StaleOwner) as caught:
            await backend.store.write([message(1)], Fence("ns/messages:0", 6))

        assert caught.value.seen == 7
        assert backend.messages() == [message(0)]

    async def test_a_fence_holds_for_its_partition_and_lets_its_owner_go_on(self, backend: Backend) -> None:
        await backend.store.write([message(0)], Fence("a", 7))

        await backend.store.write([message(1)], Fence("a", 7))
        await backend.store.write([message(2)], Fence("b", 1))
        await backend.store.write([message(3)], Fence("a", 8))

        with pytest.raises(StaleOwner):
            await backend.store.write([message(4)], Fence("a", 7))
        assert len(backend.messages()) == 4

    async def test_a_refused_batch_raises_no_fence(self, store: SqlStore) -> None:
        with pytest.raises(StoreRejected):
            await store.write([embedding()], Fence("a", 9))

        assert await store.write([message(0)], Fence("a", 1)) == 1

    # Cancellation and concurrency

    @pytest.mark.parametrize("turns", range(6))
    async def test_a_cancelled_write_is_all_or_nothing_and_the_store_goes_on(
        self, backend: Backend, turns: int
    ) -> None:
        write = asyncio.create_task(backend.store.write([message(0), message(1), log(0)]))
        for _ in range(turns):
            await asyncio.sleep(0)
        write.cancel()
        await asyncio.wait([write])
        await backend.store.write([message(2)])

        assert {each.content for each in backend.messages()} in ({"text 2"}, {"text 0", "text 1", "text 2"})
        assert len(backend.logs()) == (len(backend.messages()) == 3)
        assert backend.counts() == counted(backend.messages())

    @pytest.mark.parametrize("turns", range(6))
    async def test_a_cancelled_question_leaves_the_store_usable(self, backend: Backend, turns: int) -> None:
        await backend.store.write([message(0)])
        question = asyncio.create_task(backend.store.messages(MessageQuery()))
        for _ in range(turns):
            await asyncio.sleep(0)
        question.cancel()
        await asyncio.wait([question])

        assert len(await backend.store.messages(MessageQuery())) == 1

    async def test_concurrent_writes_of_the_same_and_of_others_add_up(self, backend: Backend) -> None:
        batches = [[message(number, f"s{number % 5}") for number in range(at, at + 40)] for at in range(0, 400, 20)]
        async with asyncio.TaskGroup() as group:
            writes = [group.create_task(backend.store.write(batch)) for batch in batches]

        sent = [message(number, f"s{number % 5}") for number in range(420)]
        assert sum(write.result() for write in writes) == 420
        assert sorted(backend.messages()) == sorted(sent)
        assert backend.counts() == counted(sent)

    async def test_a_poisoned_neighbour_costs_others_nothing(self, backend: Backend) -> None:
        good = [backend.store.write([message(number)]) for number in range(5)]

        outcomes = await asyncio.gather(*good, backend.store.write([embedding()]), return_exceptions=True)

        assert outcomes[:5] == [1] * 5
        assert isinstance(outcomes[5], StoreRejected)
        assert len(backend.messages()) == 5

    # Reading back

    @pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
    async def test_every_text_comes_back_equal(self, store: SqlStore, text: str) -> None:
        await store.write([message(0)._replace(content=text), log(0, message=text)])

        shown, logged = await store.message(message(0).id), (await store.logs(LogQuery()))[0]

        assert shown is not None
        assert shown.content == text
        assert logged.message == text

    async def test_every_field_of_a_message_comes_back_equal(self, backend: Backend) -> None:
        names = {name: f"{name} {NAME}"[:255] for name in Message._fields[6:19]}
        metadata = {"nested": {"list": [1, 2.5, None, True, "世界 👩‍🚀"]}, "empty": {}, "": "key", "big": 2**63 - 1}
        full = Message(
            id_from_key("full"), START_US, NAME, "assistant", "text", json.dumps(metadata).encode(),
            updated_at_us=START_US + 1, deleted_at_us=253_402_300_799_999_999, state="interrupted", version=3,
            normalised=True, **names,
        )  # fmt: skip
        await backend.store.write([full])

        shown = await backend.store.message(full.id)

        assert backend.messages() == [full]
        assert shown is not None
        assert {name: getattr(shown, name) for name in names} == names
        assert (shown.id, shown.session_id, shown.role) == (format_id(full.id), NAME, "assistant")
        assert shown.metadata == metadata
        assert shown.created_at == datetime(2025, 6, 15, 15, 6, 40, tzinfo=UTC)
        assert shown.updated_at == from_us(START_US + 1)
        assert shown.deleted_at == datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
        assert (shown.state, shown.version, shown.normalised, shown.deleted) == ("interrupted", 3, True, True)

    async def test_absence_comes_back_as_none_and_not_as_emptiness(self, store: SqlStore) -> None:
        await store.write([message(0)._replace(content=None), message(1)._replace(content="")])

        absent, empty = await store.messages(MessageQuery())

        assert (absent.content, empty.content) == (None, "")
        assert (absent.user_id, absent.deleted_at, absent.metadata, absent.state) == (None, None, {}, "complete")
        assert absent.updated_at == absent.created_at

    async def test_every_field_of_a_log_event_comes_back_equal(self, backend: Backend) -> None:
        full = LogEvent(
            id_from_key("l"), START_US, 40, NAME, "👩‍🚀", "agent", "task", b'{"a":{"b":[1,null]}}'
        )._replace(normalised=True)
        odd = log(1, level=35)
        await backend.store.write([full, odd])

        shown, other = await backend.store.logs(LogQuery())

        assert backend.logs() == [full, odd]
        assert (shown.id, shown.created_at) == (format_id(full.id), from_us(START_US))
        assert (shown.level, shown.event, shown.message) == ("error", NAME, "👩‍🚀")
        assert (shown.agent_id, shown.task_id, shown.data) == ("agent", "task", {"a": {"b": [1, None]}})
        assert (shown.normalised, other.normalised, other.level, other.data) == (True, False, "35", {})

    async def test_what_is_not_there_is_none(self, store: SqlStore) -> None:
        assert await store.message(message(0).id) is None
        assert await store.session("s") is None
        assert await store.messages(MessageQuery(session_id="s")) == []
        assert await store.count_messages(MessageQuery(session_id="s")) == 0
        assert await store.sessions(SessionQuery()) == []
        assert await store.logs(LogQuery()) == []

    # Pages

    @pytest.mark.parametrize("ascending", [True, False])
    @pytest.mark.parametrize("session", ["s", None])
    async def test_pages_are_complete_and_repeat_nothing(
        self, store: SqlStore, ascending: bool, session: str | None
    ) -> None:
        # Threes of one microsecond, so that pages end between them.
        sent = [message(number)._replace(created_at_us=START_US + number // 3) for number in range(20)]
        await store.write([*sent, message(99, "other")])

        query = MessageQuery(session_id=session, ascending=ascending, limit=4)
        seen = await _all_pages(lambda after: store.messages(_after(query, after)))

        expected = sorted([*sent, *([] if session else [message(99)])], key=_place, reverse=not ascending)
        assert [each.id for each in seen] == [format_id(each.id) for each in expected]

    async def test_rows_that_are_added_meanwhile_disturb_no_page(self, store: SqlStore) -> None:
        await store.write([message(number) for number in range(0, 40, 2)])
        added = iter(range(1, 40, 2))

        async def page(after: Position | None) -> Sequence[Any]:
            found = await store.messages(MessageQuery(session_id="s", limit=3, after=after))
            await store.write([message(number) for number in (next(added, 41), next(added, 43))])
            return found

        seen = Counter(each.content for each in await _all_pages(page))

        assert set(seen.values()) == {1}
        assert {f"text {number}" for number in range(0, 40, 2)} <= set(seen)

    @pytest.mark.parametrize("ascending", [True, False])
    async def test_log_pages_are_complete_and_repeat_nothing(self, store: SqlStore, ascending: bool) -> None:
        sent = [log(number)._replace(created_at_us=START_US + number // 3) for number in range(20)]
        await store.write(sent)

        query = LogQuery(ascending=ascending, limit=4)
        seen = await _all_pages(lambda after: store.logs(_after(query, after)))

        expected = sorted(sent, key=_place, reverse=not ascending)
        assert [each.id for each in seen] == [format_id(each.id) for each in expected]

    async def test_sessions_come_latest_first_in_pages(self, store: SqlStore) -> None:
        late = [
            message(number, f"s{number // 2:02}")._replace(created_at_us=START_US + number // 4) for number in range(20)
        ]
        await store.write(late)
        await store.write([message(50, "s03")])

        seen: list[str] = []
        after = None
        while found := await store.sessions(SessionQuery(limit=3, after=after)):
            seen += [each.id for each in found]
            after = Position(_us(found[-1].last_message_at), found[-1].id)

        assert seen == ["s03", "s09", "s08", "s07", "s06", "s05", "s04", "s02", "s01", "s00"]

    async def test_a_session_tells_what_was_stored(self, store: SqlStore) -> None:
        await store.write([message(3, user_id="u", platform="p"), message(1), message(2)])

        session = await store.session("s")

        assert session is not None
        assert (session.id, session.user_id, session.platform, session.message_count) == ("s", "u", "p", 3)
        assert session.first_message_at == from_us(START_US + 1)
        assert session.last_message_at == from_us(START_US + 3)
        assert session.last_message_id == format_id(message(3).id)

    # Filters

    @pytest.mark.parametrize(
        ("asked", "numbers"),
        [
            ({}, [0, 1, 2, 3, 5, 6]),
            ({"session_id": "s0"}, [0, 2, 6]),
            ({"user_id": "ada"}, [1]),
            ({"role": "assistant"}, [2]),
            ({"platform": "web"}, [1, 3]),
            ({"engine_session_id": "e"}, [2]),
            ({"provider_session_id": "p"}, [3]),
            ({"provider_type": "openai"}, [3]),
            ({"message_types": ["image", "audio"]}, [5, 6]),
            ({"message_types": ["none such"]}, []),
            ({"since_us": START_US + 3}, [3, 5, 6]),
            ({"until_us": START_US + 3}, [0, 1, 2]),
            ({"since_us": START_US + 1, "until_us": START_US + 4}, [1, 2, 3]),
            ({"include_deleted": True}, [0, 1, 2, 3, 4, 5, 6]),
            ({"session_id": "s0", "include_deleted": True}, [0, 2, 4, 6]),
            ({"platform": "web", "user_id": "ada", "session_id": "s1"}, [1]),
            ({"platform": "web", "user_id": "ada", "session_id": "s0"}, []),
        ],
        ids=str,
    )
    async def test_a_filter_of_messages(self, store: SqlStore, asked: dict[str, Any], numbers: list[int]) -> None:
        extra: dict[int, dict[str, Any]] = {
            1: {"user_id": "ada", "platform": "web"},
            2: {"engine_session_id": "e"},
            3: {"provider_session_id": "p", "provider_type": "openai", "platform": "web"},
            4: {"deleted_at_us": START_US + 60},
            5: {"message_type": "image"},
            6: {"message_type": "audio"},
        }
        sent = [message(number, f"s{number % 2}", **extra.get(number, {})) for number in range(7)]
        sent[2] = sent[2]._replace(role="assistant")
        await store.write(sent)

        found = await store.messages(MessageQuery(**asked))

        assert [each.content for each in found] == [f"text {number}" for number in numbers]
        assert await store.count_messages(MessageQuery(**asked, limit=1, after=Position(0, b""))) == len(numbers)

    @pytest.mark.parametrize(
        ("asked", "numbers"),
        [
            ({}, [0, 1, 2, 3]),
            ({"agent_id": "a"}, [1, 2]),
            ({"task_id": "t"}, [2]),
            ({"event": "boom"}, [3]),
            ({"level": 40}, [3]),
            ({"min_level": 30}, [2, 3]),
            ({"since_us": START_US + 1, "until_us": START_US + 3}, [1, 2]),
            ({"agent_id": "a", "min_level": 30}, [2]),
        ],
        ids=str,
    )
    async def test_a_filter_of_logs(self, store: SqlStore, asked: dict[str, Any], numbers: list[int]) -> None:
        extra: list[dict[str, Any]] = [
            {},
            {"agent_id": "a"},
            {"agent_id": "a", "task_id": "t", "level": 30},
            {"event": "boom", "level": 40},
        ]
        await store.write([log(number, message=str(number), **fields) for number, fields in enumerate(extra)])

        found = await store.logs(LogQuery(**asked))

        assert [each.message for each in found] == [str(number) for number in numbers]
        assert await store.count_logs(LogQuery(**asked, limit=1)) == len(numbers)

    @pytest.mark.parametrize(
        ("asked", "ids"),
        [({}, ["s2", "s1", "s0"]), ({"user_id": "u"}, ["s2", "s0"]), ({"platform": "web"}, ["s1"])],
        ids=str,
    )
    async def test_a_filter_of_sessions(self, store: SqlStore, asked: dict[str, Any], ids: list[str]) -> None:
        await store.write(
            [message(0, "s0", user_id="u"), message(1, "s1", platform="web"), message(2, "s2", user_id="u")]
        )

        assert [each.id for each in await store.sessions(SessionQuery(**asked))] == ids

    # Streams

    async def test_partials_are_the_messages_that_may_still_grow(self, store: SqlStore) -> None:
        states = ["streaming", "interrupted", None]
        await store.write([message(n)._replace(state=state, version=n + 1) for n, state in enumerate(states)])

        found = await store.partials([message(number).id for number in range(5)])

        assert dict(found) == {message(0).id: ("text 0", 1), message(1).id: ("text 1", 2)}
        assert await store.partials([]) == {}

    # Life

    async def test_setup_may_be_repeated_and_raced(self, backend: Backend) -> None:
        await backend.store.write([message(0)])

        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(backend.store.setup())

        assert backend.messages() == [message(0)]

    async def test_a_store_that_is_there_passes_its_check(self, store: SqlStore) -> None:
        await store.check()

    async def test_a_closed_store_answers_nothing_and_closes_again(self, store: SqlStore) -> None:
        await store.close()
        await store.close()

        for call in (store.write([message(0)]), store.message(message(0).id), store.check(), store.setup()):
            with pytest.raises(StoreUnavailable, match="closed"):
                await call

    async def test_closing_finishes_the_write_that_runs(self, backend: Backend) -> None:
        write = asyncio.create_task(backend.store.write([message(number) for number in range(50)]))
        await asyncio.sleep(0)

        await backend.store.close()

        assert await write == 50
        assert len(backend.messages()) == 50


def _after(query: Any, after: Position | None) -> Any:
    return type(query)(**{name: getattr(query, name) for name in query.__slots__ if name != "after"}, after=after)


def _place(row: Message | LogEvent) -> tuple[int, bytes]:
    return row.created_at_us, row.id


def _us(at: datetime) -> int:
    return round(at.timestamp() * 1_000_000)


async def _all_pages(page: Callable[[Position | None], Any]) -> list[Any]:
    seen: list[Any] = []
    while found := await page(Position(_us(seen[-1].created_at), parse_id(seen[-1].id)) if seen else None):
        seen += found
    return seen
