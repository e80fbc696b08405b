"""A query as SQL: pieces of `statements.sql` joined, every value bound."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, NamedTuple, TypeAlias

from penstock.stores.rows import LogQuery, MessageQuery, SessionQuery
from penstock.stores.sqlfiles import statements

_SQL = statements("penstock.stores.postgres")
_PLACE = re.compile(r"(?<!:):([a-z_]+)")

_Query: TypeAlias = MessageQuery | SessionQuery | LogQuery


class Question(NamedTuple):
    """One SELECT and its values, `$1` first."""

    sql: str
    values: Sequence[Any]


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


def partials(ids: Sequence[bytes]) -> Question:
    """Those of *ids* that may still grow."""
    return _ask("partials", [], {"ids": ids})


def schema_version() -> Question:
    """The number of the last migration."""
    return _ask("schema_version", [], {})


def _page(kind: str, query: _Query, conditions: Sequence[str], *, ascending: bool) -> Question:
    order = "ascending" if ascending else "descending"
    if query.after is not None:
        conditions = [*conditions, f"{kind}_after_{order}"]
    return _ask(f"{kind}_columns", conditions, _values(query), f"{kind}_order_{order}")


def _ask(head: str, conditions: Sequence[str], values: Mapping[str, Any], tail: str | None = None) -> Question:
    sql = _SQL[head]
    if conditions:
        sql += "\nWHERE " + "\n    AND ".join(_SQL[name] for name in conditions)
    return _numbered(sql if tail is None else f"{sql}\n{_SQL[tail]}", values)


def _numbered(sql: str, values: Mapping[str, Any]) -> Question:
    """*sql* with its names as `$1`, `$2`, …, and the values of those that it has."""
    names = list(dict.fromkeys(_PLACE.findall(sql)))
    numbers = {name: f"${number}" for number, name in enumerate(names, 1)}
    return Question(_PLACE.sub(lambda found: numbers[found[1]], sql), [values[name] for name in names])


def _message_conditions(query: MessageQuery) -> list[str]:
    conditions = _conditions("message", query)
    return conditions if query.include_deleted else [*conditions, "message_kept"]


def _conditions(kind: str, query: _Query) -> list[str]:
    """The names of the conditions for those fields of *query* that are given and have one."""
    given = (each.name for each in fields(query) if getattr(query, each.name) not in (None, ()))
    return [f"{kind}_is_{name}" for name in given if f"{kind}_is_{name}" in _SQL]


def _values(query: _Query) -> dict[str, Any]:
    values = {each.name: getattr(query, each.name) for each in fields(query)}
    if query.after is not None:
        values |= {"at_us": query.after.at_us, "at_id": query.after.id}
    return values
