"""What every SQL store answers: fields, pages, filters."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from penstock.stores.contract import SqlStore
from penstock.stores.queries import LogQuery, MessageQuery, Position, SessionQuery
from penstock.testing.conformance.filtering import FilteringConformance
from penstock.testing.conformance.reading_state import ReadingStateConformance
from penstock.testing.conformance.records import START_US, Backend, log, message
from penstock.wire.ids import format_id, from_us, id_from_key, parse_id
from penstock.wire.records import LogEvent, Message

TEXTS = ["", "plain", "Grüße, 世界", "👩‍🚀 \U0010ffff", "tab\tline\nquote'\"\\", "x" * 100_000]
NAME = "ж" * 255


class SqlReadingConformance(ReadingStateConformance, FilteringConformance):
    """A part of `SqlStoreConformance`."""

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
            ({"roles": ["assistant"]}, [2]),
            ({"roles": ["assistant", "user", "none such"]}, [0, 1, 2, 3, 5, 6]),
            ({"roles": ["none such"]}, []),
            ({"platform": "web"}, [1, 3]),
            ({"channel_id": "c"}, [0, 5]),
            ({"thread_id": "t"}, [5]),
            ({"bot_user_id": "b"}, [6]),
            ({"channel_id": "c", "thread_id": "t", "bot_user_id": "b"}, []),
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
            0: {"channel_id": "c"},
            1: {"user_id": "ada", "platform": "web"},
            2: {"engine_session_id": "e"},
            3: {"provider_session_id": "p", "provider_type": "openai", "platform": "web"},
            4: {"deleted_at_us": START_US + 60},
            5: {"message_type": "image", "channel_id": "c", "thread_id": "t"},
            6: {"message_type": "audio", "bot_user_id": "b"},
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
            ({"level": 29}, [1]),
            ({"min_level": 29}, [1, 2, 3]),
            ({"min_level": 30}, [2, 3]),
            ({"min_level": 31}, [3]),
            ({"level": 20, "min_level": 30}, []),
            ({"since_us": START_US + 1, "until_us": START_US + 3}, [1, 2]),
            ({"agent_id": "a", "min_level": 30}, [2]),
        ],
        ids=str,
    )
    async def test_a_filter_of_logs(self, store: SqlStore, asked: dict[str, Any], numbers: list[int]) -> None:
        extra: list[dict[str, Any]] = [
            {},
            {"agent_id": "a", "level": 29},
            {"agent_id": "a", "task_id": "t", "level": 30},
            {"event": "boom", "level": 40},
        ]
        await store.write([log(number, message=str(number), **fields) for number, fields in enumerate(extra)])

        found = await store.logs(LogQuery(**asked))

        assert [each.message for each in found] == [str(number) for number in numbers]
        assert await store.count_logs(LogQuery(**asked, limit=1)) == len(numbers)

    @pytest.mark.parametrize(
        ("asked", "ids"),
        [
            ({}, ["s2", "s1", "s0"]),
            ({"user_id": "u"}, ["s2", "s0"]),
            ({"platform": "web"}, ["s1"]),
            ({"since_us": START_US + 1}, ["s2", "s1"]),
            ({"until_us": START_US + 2}, ["s1", "s0"]),
            ({"since_us": START_US + 1, "until_us": START_US + 2}, ["s1"]),
            ({"user_id": "u", "since_us": START_US + 1}, ["s2"]),
        ],
        ids=str,
    )
    async def test_a_filter_of_sessions(self, store: SqlStore, asked: dict[str, Any], ids: list[str]) -> None:
        await store.write(
            [message(0, "s0", user_id="u"), message(1, "s1", platform="web"), message(2, "s2", user_id="u")]
        )

        assert [each.id for each in await store.sessions(SessionQuery(**asked))] == ids

    # The last message

    async def test_a_session_brings_its_last_message_that_is_not_deleted(self, store: SqlStore) -> None:
        at_once = [message(n, "tied")._replace(created_at_us=START_US + 50) for n in (30, 31, 32)]
        full = message(5, "full", metadata=b'{"a":1}', user_id="u", state="interrupted", version=4)
        await store.write([message(1, "full"), full, *at_once])
        await store.write([message(6, "half"), message(7, "half", deleted_at_us=START_US + 9)])
        await store.write([message(8, "gone", deleted_at_us=START_US + 9)])

        found = await store.sessions(SessionQuery(with_last_message=True))
        last = {each.id: each.last_message for each in found}

        greatest = max(at_once, key=_place)
        assert [each.id for each in found] == ["tied", "gone", "half", "full"]
        assert last["full"] == await store.message(full.id)
        assert last["half"] == await store.message(message(6).id)
        assert last["tied"] == await store.message(greatest.id)
        assert last["gone"] is None
        assert await store.session("full", with_last_message=True) == found[3]
        assert await store.session("gone", with_last_message=True) == found[1]

    async def test_a_last_message_changes_nothing_else(self, store: SqlStore) -> None:
        await store.write([message(n, f"s{n % 5}", user_id="u" if n % 2 else None) for n in range(40)])
        asked = SessionQuery(user_id="u", limit=3, after=Position(START_US + 38, "s3"))

        plain = await store.sessions(asked)
        full = await store.sessions(replace(asked, with_last_message=True))

        assert [replace(each, last_message=None) for each in full] == plain
        assert all(each.last_message and each.last_message.id == each.last_message_id for each in full)
        assert {each.last_message for each in plain} == {None}

    # Streams

    async def test_partials_are_streams_with_the_texts_of_those_that_may_still_grow(self, store: SqlStore) -> None:
        states = ["streaming", "interrupted", None]
        await store.write([message(n)._replace(state=state, version=n + 1) for n, state in enumerate(states)])
        await store.write([message(3)])

        found = await store.partials([message(number).id for number in range(5)])

        assert dict(found) == {message(0).id: ("text 0", 1), message(1).id: ("text 1", 2), message(2).id: ("", 3)}
        assert await store.partials([]) == {}


def _after(query: Any, after: Position | None) -> Any:
    return replace(query, after=after)


def _place(row: Message | LogEvent) -> tuple[int, bytes]:
    return row.created_at_us, row.id


def _us(at: datetime) -> int:
    return round(at.timestamp() * 1_000_000)


async def _all_pages(page: Callable[[Position | None], Any]) -> list[Any]:
    seen: list[Any] = []
    while found := await page(Position(_us(seen[-1].created_at), parse_id(seen[-1].id)) if seen else None):
        seen += found
    return seen
