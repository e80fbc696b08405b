"""Which rows a query is about, and which of them make its page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from penstock.stores.filters import Condition
from penstock.stores.predicate import predicate
from penstock.stores.queries import ContextQuery, FoundQuery, LogQuery, MessageQuery, Position, SessionQuery, TaskQuery
from penstock.stores.search import holds
from penstock.wire.records import Context, KeyValue, LogEvent, Message, Task
from penstock.wire.text import load_object

_Row = TypeVar("_Row")

_MESSAGE_FIELDS = (
    "session_id", "user_id", "platform", "channel_id", "thread_id", "bot_user_id", "engine_session_id",
    "provider_session_id", "provider_type",
)  # fmt: skip


def matching_messages(rows: Iterable[Message], query: MessageQuery) -> list[Message]:
    """Those of *rows* that *query* asks for, of all pages."""
    holds = _filter(query.where)
    return [
        row
        for row in rows
        if has(row, query, *_MESSAGE_FIELDS)
        and _is_between(row.created_at_us, query.since_us, query.until_us)
        and (query.include_deleted or row.deleted_at_us is None)
        and (not query.roles or row.role in query.roles)
        and (not query.message_types or row.message_type in query.message_types)
        and holds(row.metadata)
    ]


def matching_found(rows: Iterable[Message], query: FoundQuery) -> list[Message]:
    """Those of *rows* that *query* searches for, of all pages."""
    return [
        row
        for row in rows
        if has(row, query, "session_id", "user_id")
        and _is_between(row.created_at_us, query.since_us, query.until_us)
        and row.deleted_at_us is None
        and (not query.roles or row.role in query.roles)
        and holds(query.search, row.content or "")
    ]


def matching_logs(rows: Iterable[LogEvent], query: LogQuery) -> list[LogEvent]:
    """Those of *rows* that *query* asks for, of all pages."""
    holds = _filter(query.where)
    return [
        row
        for row in rows
        if has(row, query, "agent_id", "task_id", "event", "level")
        and _is_between(row.created_at_us, query.since_us, query.until_us)
        and (query.min_level is None or row.level >= query.min_level)
        and holds(row.data)
    ]


def matching_sessions(rows: Iterable[Sequence[Any]], query: SessionQuery) -> list[Sequence[Any]]:
    """Those of *rows*, which are made by `sessions.growth`, that *query* asks for, of all pages."""
    return [
        row
        for row in rows
        if query.user_id in (None, row[1])
        and query.platform in (None, row[2])
        and _is_between(row[5], query.since_us, query.until_us)
    ]


def matching_tasks(rows: Iterable[Task], query: TaskQuery) -> list[Task]:
    """Those of *rows* that *query* asks for, of all pages."""
    holds = _filter(query.where)
    return [
        row
        for row in rows
        if has(row, query, "agent_id", "status", "task_type", "enabled")
        and _is_between(first(row), query.since_us, query.until_us)
        and holds(row.data)
    ]


def matching_contexts(rows: Iterable[Context], query: ContextQuery) -> list[Context]:
    """Those of *rows* that *query* asks for, of all pages."""
    holds = _filter(query.where)
    return [
        row
        for row in rows
        if has(row, query, "agent_id", "session_id")
        and not has_expired(row, query.now_us)
        and _is_between(first(row), query.since_us, query.until_us)
        and holds(row.data)
    ]


def page(rows: Iterable[_Row], place: Callable[[_Row], tuple[int, Any]], query: Any, *, ascending: bool) -> list[_Row]:
    """The page of *rows* that *query* asks for; *place* is what its cursor holds."""
    after: Position | None = query.after
    ordered = sorted(rows, key=place, reverse=not ascending)
    if after is not None:
        ordered = [row for row in ordered if (place(row) > after if ascending else place(row) < after)]
    return ordered[: query.limit]


def has(row: Any, query: Any, *names: str) -> bool:
    """Whether *row* has the values of those fields that *query* gives."""
    return all(getattr(query, name) in (None, getattr(row, name)) for name in names)


def has_expired(row: Context | KeyValue, now_us: int) -> bool:
    """Whether *row* is not there any more."""
    return row.expires_at_us is not None and row.expires_at_us <= now_us


def first(row: Task | Context) -> int:
    """When *row* was made."""
    return row.created_at_us if row.first_at_us is None else row.first_at_us


def _filter(where: Condition | None) -> Callable[[bytes | None], bool]:
    if where is None:
        return lambda _: True
    holds: Callable[[Mapping[str, Any]], bool] = predicate(where)
    return lambda encoded: holds(load_object(encoded))


def _is_between(at_us: int, since_us: int | None, until_us: int | None) -> bool:
    return (since_us is None or at_us >= since_us) and (until_us is None or at_us < until_us)
