"""Every make of question that the library asks a SQL backend, for reading the plans."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

from penstock.query.search_text import parse as parse_search
from penstock.stores import walking
from penstock.stores.filters import parse
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
from penstock.stores.questions import Question, Questions
from penstock.stores.walking import TABLES
from penstock.testing.conformance.walking import filling

_FILTER = parse({"type": "tech", "n": {"$gt": 3}, "tags": {"$contains": "x"}})


def asked(questions: Questions, start_us: int) -> Iterator[Question]:
    """Questions about rows named `s7`, `u7` and so on, created from *start_us* on."""
    yield from _pages(questions, start_us)
    yield from _pages_one_way(questions, start_us)
    yield from _walks(questions)
    yield questions.one("message", id=b"0" * 16)
    yield questions.one("session", id="s7")
    yield questions.one("session", head="columns_and_last_message", id="s7")
    yield questions.one("task", id="t7")
    yield questions.one("agent_state", id="a7")
    yield questions.one("context", id="c7", now_us=start_us)
    yield questions.one("key_value", namespace="n1", key="k7", now_us=start_us)
    yield questions.named("partials", ids=(b"0" * 16, b"1" * 16))
    yield questions.count("message", MessageQuery(session_id="s7"))
    yield questions.count("message", MessageQuery(user_id="u7", until_us=start_us + 9))
    yield questions.count("message", MessageQuery(session_id="s7", where=_FILTER))
    yield questions.count("message", MessageQuery(thread_id="t7", since_us=start_us))
    yield questions.count("message", MessageQuery())
    yield questions.count("log", LogQuery(event="e7"))
    yield questions.count("log", LogQuery(agent_id="a7", where=_FILTER))
    yield questions.count("log", LogQuery(agent_id="a7", min_level=40, since_us=start_us))
    yield questions.count("log", LogQuery())
    yield questions.count("task", TaskQuery(agent_id="a7"))
    yield questions.count("task", TaskQuery(status="failed"))
    yield questions.count("task", TaskQuery(task_type="t7", where=_FILTER))
    yield questions.count("context", ContextQuery(now_us=start_us, agent_id="a7"))
    yield questions.count("context", ContextQuery(now_us=start_us, session_id="s7", where=_FILTER))
    yield questions.named("key_values_of", namespace="n1", keys=("k7", "k8"), now_us=start_us)
    yield questions.named("tasks_of_agent_by_status", agent_id="a7", scale=0.5)
    yield questions.named("logs_of_agent_by_level", agent_id="a7")


def searched(questions: Questions, start_us: int) -> Iterator[Question]:
    """Searches, which begin with the words: what they find is then sorted by time."""
    for text in ("w7", '"w7 w8" w9', "w77*", 'w7 -w8 -"w9 w10"'):
        search = parse_search(text)
        yield questions.page("found", FoundQuery(search=search))
        yield questions.page("found", FoundQuery(search=search, after=Position(start_us + 1_000_000, b"0" * 16)))
        yield questions.page("found", FoundQuery(search=search, session_id="s7", roles=["user"]))
        yield questions.page("found", FoundQuery(search=search, user_id="u7", since_us=start_us, until_us=start_us + 9))


def _pages(questions: Questions, start_us: int) -> Iterator[Question]:
    times = {"since_us": start_us, "until_us": start_us + 9}
    messages: list[dict[str, Any]] = [
        {}, {"session_id": "s7"}, {"user_id": "u7"}, {"engine_session_id": "e7"}, {"provider_session_id": "p7"},
        {"session_id": "s7", "message_types": ["a"], **times}, {"since_us": start_us}, {"platform": "p1"},
        {"session_id": "s7", "user_id": "u7", "roles": ["user"], "include_deleted": True}, {"roles": ["user"]},
        {"provider_type": "t1"}, {"message_types": ["a", "b"]}, {"channel_id": "c7"}, {"thread_id": "t7"},
        {"bot_user_id": "b7"}, {"roles": ["user", "assistant"], "session_id": "s7"}, {"where": _FILTER},
        {"session_id": "s7", "where": _FILTER}, {"thread_id": "t7", "where": _FILTER, **times},
    ]  # fmt: skip
    logs: list[dict[str, Any]] = [
        {}, {"agent_id": "a7"}, {"task_id": "t7"}, {"event": "e7"}, {"min_level": 40}, {"level": 20}, times,
        {"level": 40}, {"min_level": 10}, {"agent_id": "a7", "min_level": 30}, {"where": _FILTER},
        {"agent_id": "a7", "where": _FILTER, **times}, {"min_level": 40, **times}, {"task_id": "t7", **times},
    ]  # fmt: skip
    tasks: list[dict[str, Any]] = [
        {}, {"agent_id": "a7"}, {"status": "failed"}, {"agent_id": "a7", "status": "failed"}, times,
        {"task_type": "t7"}, {"enabled": True}, {"where": _FILTER}, {"agent_id": "a7", "where": _FILTER},
        {"agent_id": "a7", "task_type": "t7", "enabled": True, "where": _FILTER, **times},
    ]  # fmt: skip
    contexts: list[dict[str, Any]] = [
        {}, {"agent_id": "a7"}, {"session_id": "s7"}, times, {"where": _FILTER}, {"agent_id": "a7", "where": _FILTER},
    ]  # fmt: skip
    for ascending, after in product((True, False), (None, Position(start_us + 1_000_000, b"0" * 16))):
        way: dict[str, Any] = {"ascending": ascending, "after": after}
        yield from (questions.page("message", MessageQuery(**what, **way)) for what in messages)
        yield from (questions.page("log", LogQuery(**what, **way)) for what in logs)
        if after is not None:
            way["after"] = Position(after.at_us, "x7")
        yield from (questions.page("task", TaskQuery(**what, **way)) for what in tasks)
        yield from (questions.page("context", ContextQuery(now_us=start_us, **what, **way)) for what in contexts)


def _pages_one_way(questions: Questions, start_us: int) -> Iterator[Question]:
    states: list[dict[str, Any]] = [{}, {"state": "idle"}, {"active": True}, {"roles": ["coder"]}]
    for after in (None, Position(start_us + 1_000_000, "x7")):
        for user, platform in product((None, "u7"), (None, "p1")):
            sessions = SessionQuery(user_id=user, platform=platform, after=after)
            yield questions.page("session", sessions)
            yield questions.page("session", sessions, head="columns_and_last_message")
            yield questions.page("session", replace(sessions, since_us=start_us, until_us=start_us + 9))
        yield from (questions.page("agent_state", AgentStateQuery(**what, after=after)) for what in states)
        for prefix in ("", "k1"):
            query = KeyValueQuery(now_us=start_us, namespace="n1", prefix=prefix, after=after)
            yield questions.page("key_value", query)


def _walks(questions: Questions) -> Iterator[Question]:
    """Pages that go on. The first page of a walk reads from the beginning of its index, as it should."""
    records = [each for batch in filling() for each in batch]
    for name, table in TABLES.items():
        if name == "deletions":  # its ids are no uuid in PostgreSQL, and the tests write all as uuid
            continue
        yield walking.question(questions, table, next(each for each in records if isinstance(each, table.record)), 100)
