"""A query as SQL: pieces of `statements.sql` joined, every value bound."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, NamedTuple

import orjson

from penstock.stores.rows import LogQuery, MessageQuery, Position, SessionQuery
from penstock.stores.sqlfiles import statements

_SQL = statements("penstock.stores.sqlite")


class Question(NamedTuple):
    """One SELECT and its values."""

    sql: str
    values: dict[str, Any]


def message(message_id: bytes) -> Question:
    """One message, whatever its state."""
    return _ask("message_columns", ["message_id"], {"id": message_id})


def messages(query: MessageQuery) -> Question:
    """A page of messages."""
    return _page("message", query, _message_conditions(query), ascending=query.ascending)


def message_count(query: MessageQuery) -> Question:
    """How many messages there are on all pages."""
    return _ask("message_count", _message_conditions(query), _values(query))


def session(session_id: str) -> Question:
    """One session."""
    return _ask("session_columns", ["session_id"], {"id": session_id})


def sessions(query: SessionQuery) -> Question:
    """A page of sessions, latest first."""
    return _page("session", query, _conditions("session", query), ascending=False)


def logs(query: LogQuery) -> Question:
    """A page of log events."""
    return _page("log", query, _conditions("log", query), ascending=query.ascending)


def log_count(query: LogQuery) -> Question:
    """How many log events there are on all pages."""
    return _ask("log_count", _conditions("log", query), _values(query))


def partials(ids: list[bytes]) -> Question:
    """Those of *ids* that may still grow."""
    return Question(_SQL["partials"], {"ids": b"".join(ids), "count": len(ids)})


def schema_version() -> Question:
    """The number of the last migration."""
    return Question(_SQL["schema_version"], {})


def _page(
    kind: str, query: MessageQuery | SessionQuery | LogQuery, conditions: list[str], *, ascending: bool
) -> Question:
    order = "ascending" if ascending else "descending"
    values = _values(query)
    if query.after is not None:
        conditions = [*conditions, f"{kind}_after_{order}"]
        values |= _position(query.after)
    return _ask(f"{kind}_columns", conditions, values, f"{kind}_order_{order}")


def _ask(head: str, conditions: list[str], values: dict[str, Any], tail: str | None = None) -> Question:
    sql = _SQL[head]
    if conditions:
        sql += "\nWHERE " + "\n    AND ".join(_SQL[name] for name in conditions)
    return Question(sql if tail is None else f"{sql}\n{_SQL[tail]}", values)


def _message_conditions(query: MessageQuery) -> list[str]:
    conditions = _conditions("message", query)
    return conditions if query.include_deleted else [*conditions, "message_kept"]


def _conditions(kind: str, query: MessageQuery | SessionQuery | LogQuery) -> list[str]:
    """The names of the conditions for those fields of *query* that are given and have one."""
    given = (each.name for each in fields(query) if getattr(query, each.name) not in (None, ()))
    return [f"{kind}_is_{name}" for name in given if f"{kind}_is_{name}" in _SQL]


def _values(query: MessageQuery | SessionQuery | LogQuery) -> dict[str, Any]:
    values = {each.name: getattr(query, each.name) for each in fields(query) if each.name != "after"}
    if isinstance(query, MessageQuery):
        values["message_types"] = orjson.dumps(list(query.message_types)).decode()
    return values


def _position(after: Position) -> dict[str, Any]:
    return {"at_us": after.at_us, "at_id": after.id}
