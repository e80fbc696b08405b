"""The store in memory against the one on a file: after the same writes, both give the same answers to everything.

Tests of other parts run on the store in memory, which is worth as much as this file makes sure.
"""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
import tempfile
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from penstock.query.search_text import parse as parse_search
from penstock.stores.contract import Fence, SqlReading, SqlStore
from penstock.stores.errors import StaleOwner, StoreRejected
from penstock.stores.filters import parse
from penstock.stores.memory.sql import open_sql as open_memory
from penstock.stores.queries import (
    AgentStateQuery,
    ContextQuery,
    FoundQuery,
    KeyValueQuery,
    LogQuery,
    MessageQuery,
    Position,
    SessionQuery,
    TaskQuery,
)
from penstock.stores.sqlite import open_sql as open_sqlite
from penstock.stores.walking import TABLES
from penstock.testing.conformance.records import START_US, embedding
from penstock.testing.conformance.searching import refreshed
from penstock.testing.conformance.state_records import ordered, stamp
from penstock.wire.ids import id_from_key
from penstock.wire.records import (
    AgentState,
    Context,
    KeyValue,
    LogEvent,
    Message,
    MessageDeletion,
    Record,
    StreamChunk,
    Task,
    TaskStatus,
)
from tests.conformance.sqlite_file import rows, session_counts, stored_chunks, stored_messages, stored_states

T = TypeVar("T")

# Small pools, so that records meet: under one id, in one session, of one microsecond, around one deletion.

_ids = st.sampled_from([id_from_key(f"id{number}") for number in range(4)])
_times = st.integers(START_US, START_US + 6)
_maybe_time = st.none() | _times
_names = st.sampled_from(["x", "y", "é"])
_maybe_name = st.none() | _names
_sessions = st.sampled_from(["s", "t"])
_objects = st.sampled_from([None, b"{}", b'{"a":1}', b'{"a":"x","b":{"c":[1,2.5,null]}}', b'{ "a" : 1.0 }'])
_values = st.sampled_from([b"1", b"null", b'"x"', b'{"a":1}'])
_stamps = st.integers(0, 7).map(stamp)
_statuses = st.sampled_from(["pending", "completed", "failed"])
_durations = st.sampled_from([None, 0.25, 0.5, 3.0])

_messages = st.builds(
    Message, _ids, _times, _sessions, st.sampled_from(["user", "assistant"]),
    st.sampled_from([None, "", "one", "one two", "two"]),
    _objects, _maybe_name, _maybe_name, _maybe_name, st.none(), st.none(), st.none(), _maybe_name, _maybe_name,
    _maybe_name, _maybe_name, st.none(), _maybe_name, _maybe_name, _maybe_time, st.none() | st.none() | _times,
    st.sampled_from([None, "streaming", "interrupted"]), st.sampled_from([0, 0, 1, 2, 3]), st.booleans(),
)  # fmt: skip
_chunks = st.builds(
    StreamChunk, _ids, _times, _sessions, st.just("assistant"), _ids, st.integers(0, 2), st.just(1), _names,
    st.none(), st.none(), st.booleans(),
)  # fmt: skip
_logs = st.builds(
    LogEvent, _ids, _times, st.sampled_from([10, 20, 30, 35, 40]), _names, _maybe_name, _maybe_name, _maybe_name,
    _objects, st.booleans(),
)  # fmt: skip
_deletions = st.builds(MessageDeletion, _ids, _times, _sessions, st.none() | _ids)
_course = (_maybe_time, _maybe_time, _maybe_time, _maybe_time, _durations, st.none() | _values, _maybe_name)
_tasks = st.builds(
    Task, _ids, _times, _stamps, _names, _statuses, _maybe_name, _maybe_name, _maybe_name, st.booleans(), _maybe_name,
    _objects, *_course, _maybe_time, st.booleans(), st.none(), st.none(),
)  # fmt: skip
_changes = st.builds(TaskStatus, _ids, _times, _stamps, _names, _statuses, *_course, st.booleans())
_states = st.builds(
    AgentState, _ids, _times, _stamps, _names, st.sampled_from(["idle", "archived"]), _maybe_name, _maybe_name,
    _maybe_name, _maybe_name, _objects, _maybe_time, st.booleans(), st.none(),
)  # fmt: skip
_contexts = st.builds(
    Context, _ids, _times, _stamps, _names, _objects, _maybe_name, st.none() | _sessions, _maybe_time, _maybe_time,
    st.booleans(), st.none(),
)  # fmt: skip
_prefixed = st.sampled_from(["", "x", "x%", "x_y", "y", "é", "\U0010ffff", "\ud7ff", "x\U0010ffff"])
_keys = _prefixed.filter(bool)
_key_values = st.builds(
    KeyValue, _ids, _times, _stamps, _names, _keys, _values, _maybe_time, _maybe_time, st.booleans(), st.none()
)
_conversation: st.SearchStrategy[Record] = st.one_of(_messages, _messages, _chunks, _deletions)
_state: st.SearchStrategy[Record] = st.one_of(_tasks, _changes, _states, _contexts, _key_values)
_records = st.one_of(_conversation, _state, _logs)
_fences = st.none() | st.builds(Fence, st.sampled_from(["p", "q"]), st.integers(1, 3))

# Questions: a pool for each field of a query. A new field needs one here.

_positions = st.builds(Position, _times, _ids)
_named_positions = st.builds(Position, _times, _names)
_filters: list[dict[str, Any]] = [{"a": 1}, {"a": "x"}, {"b.c": {"$contains": 1}}, {"a": {"$exists": False}}]
_searches = st.sampled_from([parse_search(each) for each in ("one", "two", "o* -two", '"one two"')])
_wheres = st.sampled_from([parse(each) for each in _filters])
_pool: dict[str, st.SearchStrategy[Any]] = {
    "search": _searches,
    "session_id": _sessions,
    "roles": st.sampled_from([["user"], ["assistant", "none such"]]),
    "message_types": st.lists(_names, min_size=1, max_size=2),
    "since_us": _times,
    "until_us": _times,
    "include_deleted": st.booleans(),
    "with_last_message": st.booleans(),
    "where": _wheres,
    "ascending": st.booleans(),
    "limit": st.integers(1, 4),
    "level": st.sampled_from([20, 35]),
    "min_level": st.sampled_from([20, 30, 35]),
    "status": _statuses,
    "enabled": st.booleans(),
    "state": st.sampled_from(["idle", "archived"]),
    "active": st.booleans(),
    "now_us": _times,
    "namespace": _names,
    "prefix": _prefixed,
    **dict.fromkeys(("user_id", "platform", "channel_id", "thread_id", "bot_user_id", "agent_id", "task_id"), _names),
    **dict.fromkeys(
        ("engine_session_id", "provider_session_id", "provider_type", "event", "task_type", "role"), _names
    ),
}


def _queries(query: Any, after: st.SearchStrategy[Position]) -> st.SearchStrategy[Any]:
    """Any query of that class. Few of its optional fields are given, or nothing would match."""
    fields = {each.name: each for each in dataclasses.fields(query) if each.init}
    required = {name: _pool[name] for name, each in fields.items() if each.default is dataclasses.MISSING}
    optional = {name: after if name == "after" else _pool[name] for name in fields if name not in required}
    some = st.lists(st.sampled_from(sorted(optional)), max_size=3, unique=True)
    given = some.flatmap(lambda names: st.fixed_dictionaries(required | {name: optional[name] for name in names}))
    return given.map(lambda values: query(**values))


_message_queries = _queries(MessageQuery, _positions)
_log_queries = _queries(LogQuery, _positions)
_task_queries = _queries(TaskQuery, _named_positions)
_context_queries = _queries(ContextQuery, _named_positions)

QUESTIONS: dict[str, tuple[st.SearchStrategy[Any], ...]] = {
    "message": (_ids,),
    "messages": (_message_queries,),
    "count_messages": (_message_queries,),
    "search_messages": (_queries(FoundQuery, _positions),),
    "session": (_sessions,),
    "sessions": (_queries(SessionQuery, _named_positions),),
    "logs": (_log_queries,),
    "count_logs": (_log_queries,),
    "task": (_names,),
    "tasks": (_task_queries,),
    "count_tasks": (_task_queries,),
    "agent_state": (_names,),
    "agent_states": (_queries(AgentStateQuery, st.builds(Position, st.just(0), _names)),),
    "context": (_names, _times),
    "contexts": (_context_queries,),
    "count_contexts": (_context_queries,),
    "key_value": (_names, _keys, _times),
    "key_values": (_queries(KeyValueQuery, st.builds(Position, st.just(0), _keys)),),
    "key_values_of": (_names, st.lists(_keys, min_size=1, max_size=3, unique=True), _times),
    "agent_statistics": (_names, _times),
    "walk": (st.sampled_from(list(TABLES)), st.none(), st.integers(1, 4)),
}
"""What can be asked, and with which arguments."""

_UNORDERED = {"key_values_of": lambda found: sorted(found, key=lambda each: each.key)}

_ALL: Sequence[tuple[str, Any]] = (
    ("messages", MessageQuery(include_deleted=True)),
    ("sessions", SessionQuery()),
    ("logs", LogQuery()),
    ("tasks", TaskQuery()),
    ("agent_states", AgentStateQuery()),
    ("contexts", ContextQuery(now_us=START_US)),
)


class StoresMachine(RuleBasedStateMachine):
    """Every rule does the same to both."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp())
        self.memory = open_memory("memory://")
        self.sqlite = open_sqlite(f"sqlite:///{self.folder / 'p.db'}?synchronous=NORMAL")
        self.both: tuple[SqlStore, SqlStore] = (self.memory, self.sqlite)
        self.sent: list[Record] = []
        for store in self.both:
            self.run(store.setup())

    def teardown(self) -> None:
        for store in self.both:
            self.run(store.close())
        self.runner.close()
        shutil.rmtree(self.folder)

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(call)

    # -- writes ----------------------------------------------------------------------------------

    @rule(records=st.lists(_records, min_size=1, max_size=8), fence=_fences)
    def write(self, records: list[Record], fence: Fence | None) -> None:
        self.sent += records
        self.write_to_both(records, fence)

    @rule(records=st.lists(_conversation, min_size=1, max_size=12))
    def write_a_conversation(self, records: list[Record]) -> None:
        self.write(records, None)

    @rule(records=st.lists(_state, min_size=1, max_size=12))
    def write_state(self, records: list[Record]) -> None:
        self.write(records, None)

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), fence=_fences)
    def deliver_again_in_another_order(self, data: st.DataObject, fence: Fence | None) -> None:
        self.write_to_both(data.draw(st.lists(st.sampled_from(self.sent), max_size=12)), fence)

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def delete_what_was_sent(self, data: st.DataObject) -> None:
        messages = [each for each in self.sent if isinstance(each, Message)]
        if messages:
            one, at = data.draw(st.sampled_from(messages)), data.draw(_times)
            which = data.draw(st.sampled_from([one.id, None]))
            self.write([MessageDeletion(id_from_key(f"deletion {at}"), at, one.session_id, which)], None)

    @rule(records=st.lists(_records, max_size=4), fence=_fences)
    def write_with_a_bad_one(self, records: list[Record], fence: Fence | None) -> None:
        self.write_to_both([*records, embedding()], fence)

    def write_to_both(self, records: list[Record], fence: Fence | None) -> None:
        outcomes = [self.run(_outcome(store, records, fence)) for store in self.both]
        assert outcomes[0] == outcomes[1]

    @rule(limit=st.integers(2, 5))
    def index_some(self, limit: int) -> None:
        self.run(self.sqlite.refresh_search(limit))

    # -- answers ---------------------------------------------------------------------------------

    @rule(data=st.data(), names=st.lists(st.sampled_from(sorted(QUESTIONS)), min_size=1, max_size=8))
    def ask(self, data: st.DataObject, names: list[str]) -> None:
        for name in names:
            self.ask_both(name, *(data.draw(each, label=name) for each in QUESTIONS[name]))

    @rule(table=st.sampled_from(list(TABLES)), limit=st.integers(1, 3))
    def walk_through(self, table: str, limit: int) -> None:
        after: Record | None = None
        while found := self.run(self.memory.walk(table, after, limit)):
            assert self.run(self.sqlite.walk(table, after, limit)) == found
            after = found[-1]
        assert self.run(self.sqlite.walk(table, after, limit)) == found

    @invariant()
    def they_answer_alike(self) -> None:
        for name, query in _ALL:
            self.ask_both(name, query)

    def ask_both(self, name: str, *arguments: Any) -> None:
        if name == "search_messages":
            self.run(refreshed(self.sqlite))
        answers = [self.run(getattr(store, name)(*arguments)) for store in self.both]
        if name in _UNORDERED:
            answers = [_UNORDERED[name](each) for each in answers]
        assert answers[0] == answers[1]

    @invariant()
    def they_hold_the_same_rows(self) -> None:
        """What no question shows: counters as they are kept, chunks, rows that are deleted, tombstones."""
        path, memory = self.folder / "p.db", self.memory
        assert sorted(stored_messages(path), key=_id) == sorted(memory._messages.values(), key=_id)
        assert session_counts(path) == {row[0]: tuple(row[3:]) for row in memory._sessions.values()}
        assert stored_chunks(path) == sorted((*key, row[3]) for key, row in memory._chunks.items())
        assert ordered(stored_states(path)) == ordered(list(memory._state._rows.values()))
        stones = rows(path, "SELECT session_id, message_id, deleted_at FROM tombstones")
        assert {(session, message): at for session, message, at in stones} == memory._tombstones
        assert dict(rows(path, "SELECT partition, epoch FROM fences")) == memory._epochs


def _id(message: Message) -> bytes:
    return message.id


async def _outcome(store: SqlStore, records: list[Record], fence: Fence | None) -> object:
    try:
        return await store.write(records, fence)
    except (StaleOwner, StoreRejected) as exc:
        return type(exc), exc.args


def test_memory_does_what_sqlite_does() -> None:
    quick = settings(max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(StoresMachine, settings=quick)


def test_every_question_is_asked() -> None:
    asked = {name for name in vars(SqlReading) if not name.startswith("_")}

    assert asked == set(QUESTIONS)
