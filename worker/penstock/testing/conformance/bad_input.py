"""What every SQL store does with hostile input: through the builders it is kept, and past them it is refused alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from penstock.stores.contract import SqlStore
from penstock.stores.errors import StoreRejected
from penstock.stores.queries import KeyValueQuery, LogQuery, MessageQuery, TaskQuery
from penstock.testing.conformance.records import START_US, Backend, chunk, log, message
from penstock.testing.conformance.state_records import agent_state, context, hidden, key_value, task, task_status
from penstock.wire import building
from penstock.wire.building_state import StateBuilder
from penstock.wire.ids import RisingClock, StampClock, format_id
from penstock.wire.records import LogEvent, Message, Record, Task, TaskStatus
from penstock.worker.poison import write_or_refuse

HOSTILE = [
    "'; DROP TABLE messages; --", '"; DELETE FROM tasks; /*', "*/ OR 1=1 --", "' OR ''='", "\\", "\\'", "%", "_%",
    "$1", ":id", "?1", "{0}%s%%", "$$;$$", "NULL", "\x1b[31m", "\u202e", "\ufeff", "a\nb\r\n", "\x7f", "\u2028",
    "\U0010ffff",
]  # fmt: skip
"""Kept as they are."""

NORMALISED = {"\0": "�", "a\0b": "a�b", "\ud800": "�", "x\udfffy": "x�y", "\udc00\ud800\0": "���"}
"""What becomes of text that not every store can express."""

MEGABYTE = {"text": "x" * 500_000, "ж": ["ж" * 125_000, {"n": list(range(40_000))}]}

Make = Callable[..., Any]


def _builders() -> dict[str, Make]:
    """Each kind as a caller makes it, by the keywords of its call."""
    clock = RisingClock()
    states = StateBuilder(clock, StampClock(b"producer"))
    return {
        "message": lambda **given: building.message(clock, **{"session_id": "s", "role": "user", **given}),
        "log": lambda **given: building.log_event(clock, **{"level": "info", "event": "e", **given}),
        "task": lambda **given: states.task(**{"task_id": "t", **given}),
        "task_status": lambda **given: states.task_status(**{"task_id": "t", "status": "running", **given}),
        "agent_state": lambda **given: states.agent_state(**{"agent_id": "a", **given}),
        "context": lambda **given: states.context(**{"context_id": "c", "data": {}, **given}),
        "key_value": lambda **given: states.key_value(**{"key": "k", "namespace": "n", "value": 1, **given}),
    }


TEXTS = {
    "message": [
        "session_id", "role", "content", "user_id", "message_type", "platform", "from_user_id", "from_user_name",
        "to_user_id", "channel_id", "thread_id", "bot_user_id", "engine_session_id", "engine_namespace",
        "provider_session_id", "provider_type",
    ],
    "log": ["event", "message", "agent_id", "task_id"],
    "task": ["task_id", "status", "agent_id", "task_type", "priority", "description", "error"],
    "task_status": ["task_id", "status", "error"],
    "agent_state": ["agent_id", "state", "role", "goal", "backstory", "last_task_id"],
    "context": ["context_id", "agent_id", "session_id"],
    "key_value": ["key", "namespace"],
}  # fmt: skip
"""The text fields of each kind, as the calls name them."""

JSON = [
    ("message", "metadata"), ("log", "data"), ("task", "data"), ("task", "result"), ("task_status", "result"),
    ("agent_state", "stats"), ("context", "data"), ("key_value", "value"),
]  # fmt: skip

_EARLY, _LATE, _WIDE = -62_167_219_200_000_000, 253_402_300_800_000_000, 2**63
_HALF = b'{"a":"\\ud800"}'


def _bad(record: Any, *faults: dict[str, Any]) -> list[Any]:
    return [record._replace(**fault) for fault in faults]


BAD: list[Record] = [
    *_bad(message(1),
        {"content": "a\0b"}, {"content": "\ud800"}, {"session_id": "\0"}, {"session_id": "\udfff"}, {"role": "\0"},
        {"user_id": "\0"}, {"provider_type": "\ud800"}, {"created_at_us": -1}, {"created_at_us": _EARLY},
        {"created_at_us": _LATE}, {"created_at_us": _WIDE}, {"updated_at_us": _LATE}, {"deleted_at_us": -1},
        {"metadata": b""}, {"metadata": b"{"}, {"metadata": b"[1]"}, {"metadata": b"null"}, {"metadata": b'{"a":NaN}'},
        {"metadata": b'{"a":"\xff"}'}, {"metadata": _HALF}, {"metadata": b'{"a":1e999}'}, {"metadata": b'{"a":"\0"}'},
        {"metadata": b'{"a":' * 1_100 + b"1" + b"}" * 1_100}, {"version": _WIDE}, {"state": "odd"},
        {"content": 5}, {"role": None}, {"metadata": "{}"},
    ),
    *_bad(log(1),
        {"event": "\0"}, {"message": "\ud800"}, {"agent_id": "\0"}, {"created_at_us": _LATE}, {"level": _WIDE},
        {"data": b"[]"}, {"data": _HALF}, {"data": b"{'a':1}"},
    ),
    *_bad(chunk(1), {"text": "\0"}, {"text": "\ud800"}, {"seq": _WIDE}, {"created_at_us": -1}),
    *_bad(task(1),
        {"task_id": "\0"}, {"task_id": "\ud800"}, {"status": "\0"}, {"description": "\udfff"},
        {"next_run_at_us": _LATE},
        {"duration_s": float("nan")}, {"duration_s": float("inf")}, {"data": b"1"}, {"result": b"nope"},
        {"created_at_us": -1}, {"status_stamp": b"short"},
    ),
    *_bad(task_status(1),
        {"task_id": "\0"}, {"error": "\ud800"}, {"duration_s": float("nan")}, {"result": b""}, {"started_at_us": -1},
    ),
    *_bad(agent_state(1), {"agent_id": "\ud800"}, {"goal": "\0"}, {"stats": b"[]"}),
    *_bad(context(1), {"context_id": "\0"}, {"data": _HALF}, {"expires_at_us": _LATE}),
    *_bad(key_value(1), {"key": "\ud800"}, {"namespace": "\0"}, {"value": b"{]"}),
    *_bad(hidden(9, 0),
        {"session_id": "\0"}, {"created_at_us": _LATE}, {"message_id": b""}, {"message_id": b"short"},
    ),
]  # fmt: skip
"""What no builder makes, and a foreign producer may."""


class BadInputConformance:
    """A part of `SqlStoreConformance`."""

    @pytest.mark.parametrize(("kind", "field"), [(kind, field) for kind, fields in TEXTS.items() for field in fields])
    async def test_hostile_text_is_kept_or_normalised_and_marked(self, backend: Backend, kind: str, field: str) -> None:
        make = _builders()[kind]
        for text, expected in [*((each, each) for each in HOSTILE), *NORMALISED.items()]:
            record = make(**{field: text})

            assert await backend.store.write([record]) == 1

            row = _row(backend, record)
            assert getattr(row, field) == expected
            assert bool(row.normalised) is (expected != text)
        assert await backend.store.write([message(0)]) == 1

    async def test_hostile_names_find_their_own(self, store: SqlStore) -> None:
        make = _builders()
        for text in HOSTILE:
            await store.write([
                make["message"](session_id=text, user_id=text), make["log"](event=text), make["task"](task_id=text),
                make["agent_state"](agent_id=text), make["context"](context_id=text),
                make["key_value"](namespace=text, key=text),
            ])  # fmt: skip
        for text in HOSTILE:
            assert [each.user_id for each in await store.messages(MessageQuery(session_id=text))] == [text]
            assert [each.session_id for each in await store.messages(MessageQuery(user_id=text))] == [text]
            assert await store.session(text) is not None
            assert await store.count_logs(LogQuery(event=text)) == 1
            assert await store.task(text) is not None
            assert await store.agent_state(text) is not None
            assert await store.context(text, START_US) is not None
            assert await store.key_value(text, text, START_US) is not None
            query = KeyValueQuery(now_us=START_US, namespace=text, prefix=text)
            assert [each.key for each in await store.key_values(query)] == [text]
        assert await store.count_tasks(TaskQuery()) == len(HOSTILE)

    @pytest.mark.parametrize(("kind", "field"), JSON)
    async def test_hostile_text_within_json_is_kept_or_normalised_and_marked(
        self, backend: Backend, kind: str, field: str
    ) -> None:
        make = _builders()[kind]
        clean = make(**{field: {text: [text] for text in HOSTILE}})
        dirty = make(**{field: {"a\0": ["\ud800", {"b": "\0"}]}})

        for record, normalised in ((clean, False), (dirty, True)):
            assert await backend.store.write([record]) == 1
            row = _row(backend, record)
            assert getattr(row, field) == getattr(record, field)
            assert bool(row.normalised) is normalised
        assert getattr(_row(backend, dirty), field) == '{"a�":["�",{"b":"�"}]}'.encode()

    @pytest.mark.parametrize(("kind", "field"), JSON)
    async def test_a_megabyte_of_json_is_kept(self, backend: Backend, kind: str, field: str) -> None:
        record = _builders()[kind](**{field: MEGABYTE})

        assert await backend.store.write([message(0), record, log(0)]) == 3
        assert getattr(_row(backend, record), field) == getattr(record, field)

    async def test_the_first_and_the_last_moment_are_kept(self, store: SqlStore) -> None:
        ends = [0, _LATE - 1]
        made = [_builders()["message"](created_at=at, updated_at=at) for at in ends]
        await store.write(made)

        shown = [await store.message(each.id) for each in made]

        assert [each and (each.created_at.year, each.updated_at.year) for each in shown] == [(1970, 1970), (9999, 9999)]

    @pytest.mark.parametrize("bad", BAD, ids=range(len(BAD)))
    async def test_what_no_builder_makes_is_refused_alone(self, backend: Backend, bad: Record) -> None:
        before: list[Record] = [message(10), log(10), task(10, "x")]
        after: list[Record] = [message(11), key_value(11, "x"), context(11, "x")]

        refused = await write_or_refuse([*before, bad, *after], backend.store.write)

        assert [each.record for each in refused] == [bad]
        assert sorted(backend.messages(), key=lambda each: each.created_at_us) == [message(10), message(11)]
        assert [each.id for each in backend.logs()] == [log(10).id]
        assert {row[3] for row in backend.states()} == {"x", "n"}
        assert [each.id for each in await backend.store.messages(MessageQuery())] == [
            format_id(message(10).id),
            format_id(message(11).id),
        ]

    @pytest.mark.parametrize("bad", [each for each in BAD if isinstance(each, Message | Task | LogEvent)], ids=str)
    async def test_a_refusal_names_the_kind_and_quotes_no_value(self, store: SqlStore, bad: Record) -> None:
        with pytest.raises(StoreRejected, match=r"^(message|task|log_event): \w+ ") as caught:
            await store.write([bad])

        assert "\0" not in str(caught.value)
        assert "text 1" not in str(caught.value)


def _row(backend: Backend, record: Any) -> Any:
    """What the place holds of *record*."""
    if isinstance(record, Message | LogEvent):
        rows = backend.messages() if isinstance(record, Message) else backend.logs()
        return next(row for row in rows if row.id == record.id)
    stamps = {record.stamp} if not isinstance(record, TaskStatus) else {None}
    return next(
        row for row in backend.states()
        if row.stamp in stamps or (isinstance(row, Task) and row.status_stamp == record.stamp)
    )  # fmt: skip
