"""Every make of question that the library asks a SQL backend, for reading the plans."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from penstock.stores.queries import (
    AgentStateQuery,
    ContextQuery,
    KeyValueQuery,
    LogQuery,
    MessageQuery,
    Position,
    SessionQuery,
    TaskQuery,
)
from penstock.stores.questions import Question, Questions


def asked(questions: Questions, start_us: int) -> Iterator[Question]:
    """Questions about rows named `s7`, `u7` and so on, created from *start_us* on."""
    yield from _pages(questions, start_us)
    yield from _pages_one_way(questions, start_us)
    yield questions.one("message", id=b"0" * 16)
    yield questions.one("session", id="s7")
    yield questions.one("task", id="t7")
    yield questions.one("agent_state", id="a7")
    yield questions.one("context", id="c7", now_us=start_us)
    yield questions.one("key_value", namespace="n1", key="k7", now_us=start_us)
    yield questions.named("partials", ids=(b"0" * 16, b"1" * 16))
    yield questions.count("message", MessageQuery(session_id="s7"))
    yield questions.count("message", MessageQuery(user_id="u7", until_us=start_us + 9))
    yield questions.count("message", MessageQuery())
    yield questions.count("log", LogQuery(event="e7"))
    yield questions.count("log", LogQuery())
    yield questions.count("task", TaskQuery(agent_id="a7"))
    yield questions.count("task", TaskQuery(status="failed"))
    yield questions.count("context", ContextQuery(now_us=start_us, agent_id="a7"))


def _pages(questions: Questions, start_us: int) -> Iterator[Question]:
    times = {"since_us": start_us, "until_us": start_us + 9}
    messages: list[dict[str, Any]] = [
        {}, {"session_id": "s7"}, {"user_id": "u7"}, {"engine_session_id": "e7"}, {"provider_session_id": "p7"},
        {"session_id": "s7", "message_types": ["a"], **times}, {"since_us": start_us}, {"platform": "p1"},
        {"session_id": "s7", "user_id": "u7", "role": "user", "include_deleted": True}, {"role": "user"},
        {"provider_type": "t1"}, {"message_types": ["a", "b"]},
    ]  # fmt: skip
    logs: list[dict[str, Any]] = [
        {}, {"agent_id": "a7"}, {"task_id": "t7"}, {"event": "e7"}, {"min_level": 40}, {"level": 20}, times,
    ]  # fmt: skip
    tasks: list[dict[str, Any]] = [
        {}, {"agent_id": "a7"}, {"status": "failed"}, {"agent_id": "a7", "status": "failed"}, times,
    ]  # fmt: skip
    contexts: list[dict[str, Any]] = [{}, {"agent_id": "a7"}, {"session_id": "s7"}]
    for ascending, after in product((True, False), (None, Position(start_us + 1_000_000, b"0" * 16))):
        way: dict[str, Any] = {"ascending": ascending, "after": after}
        yield from (questions.page("message", MessageQuery(**what, **way)) for what in messages)
        yield from (questions.page("log", LogQuery(**what, **way)) for what in logs)
        if after is not None:
            way["after"] = Position(after.at_us, "x7")
        yield from (questions.page("task", TaskQuery(**what, **way)) for what in tasks)
        yield from (questions.page("context", ContextQuery(now_us=start_us, **what, **way)) for what in contexts)


def _pages_one_way(questions: Questions, start_us: int) -> Iterator[Question]:
    states: list[dict[str, Any]] = [{}, {"state": "idle"}, {"active": True}]
    for after in (None, Position(start_us + 1_000_000, "x7")):
        for user, platform in product((None, "u7"), (None, "p1")):
            yield questions.page("session", SessionQuery(user_id=user, platform=platform, after=after))
        yield from (questions.page("agent_state", AgentStateQuery(**what, after=after)) for what in states)
        for prefix in ("", "k1"):
            query = KeyValueQuery(now_us=start_us, namespace="n1", prefix=prefix, after=after)
            yield questions.page("key_value", query)
