"""A query as SQL: pieces of a backend's `.sql` files joined, every value bound by its name.

A page is a head, its conditions joined by AND, and a tail. A field of a query has a condition where the backend's
files have a piece `<subject>_is_<field>`. A filter is compiled by the backend for the column `<subject>_filtered`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any, NamedTuple, TypeAlias

from penstock.stores.filters import Condition
from penstock.stores.queries import (
    AgentStateQuery,
    ContextQuery,
    FoundQuery,
    KeyValueQuery,
    LogQuery,
    MessageQuery,
    SessionQuery,
    TaskQuery,
)
from penstock.stores.search import Search

Query: TypeAlias = (
    MessageQuery | FoundQuery | SessionQuery | LogQuery | TaskQuery | AgentStateQuery | ContextQuery | KeyValueQuery
)
Compiler: TypeAlias = Callable[[Condition, str], tuple[str, Mapping[str, Any]]]
"""Makes the SQL of a filter of a column of JSON, and its values `where_0`, `where_1` and so on."""
Matcher: TypeAlias = Callable[[Search], Mapping[str, Any]]
"""Makes of a search the values of the conditions that stand for it."""


_APART = ("after", "where", "search")
"""Fields that are no values as they are."""

_NEWEST_FIRST = ("session", "found")


class Question(NamedTuple):
    """One SELECT and its values. A tuple among the values is an array."""

    sql: str
    values: Mapping[str, Any]


class Questions:
    """The questions of one backend."""

    def __init__(self, pieces: Mapping[str, str], compiled: Compiler, matched: Matcher) -> None:
        """*pieces* are the backend's named statements."""
        self._pieces = pieces
        self._compiled = compiled
        self._matched = matched

    def one(self, subject: str, *, head: str = "columns", **key: Any) -> Question:
        """The one row of *subject* with this key."""
        return self._joined(f"{subject}_{head}", [self._pieces[f"{subject}_id"]], key)

    def page(self, subject: str, query: Query, *, head: str = "columns") -> Question:
        """A page of *subject*."""
        order = "ascending" if getattr(query, "ascending", subject not in _NEWEST_FIRST) else "descending"
        conditions, values = self._conditions(subject, query)
        if query.after is not None:
            conditions.append(self._pieces[f"{subject}_after_{order}"])
            values |= {"at_us": query.after.at_us, "at_id": query.after.id}
        return self._joined(f"{subject}_{head}", conditions, values, f"{subject}_order_{order}")

    def count(self, subject: str, query: Query) -> Question:
        """How many there are on all pages."""
        return self._joined(f"{subject}_count", *self._conditions(subject, query))

    def named(self, name: str, **values: Any) -> Question:
        """The statement of that name."""
        return Question(self._pieces[name], values)

    def _conditions(self, subject: str, query: Query) -> tuple[list[str], dict[str, Any]]:
        """The conditions for those fields of *query* that are given and have one, and the values of all its fields."""
        values = {each.name: getattr(query, each.name) for each in fields(query) if each.name not in _APART}
        if isinstance(query, FoundQuery):
            values |= self._matched(query.search)
        given = [name for name, value in values.items() if value is not None and value not in ((), [])]
        conditions = [self._pieces[name] for each in given if (name := f"{subject}_is_{each}") in self._pieces]
        if not values.get("include_deleted") and (kept := f"{subject}_kept") in self._pieces:
            conditions.append(self._pieces[kept])
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        where: Condition | None = getattr(query, "where", None)
        if where is not None:
            # Last: SQLite looks at conditions in this order, and reading JSON costs most.
            sql, bound = self._compiled(where, self._pieces[f"{subject}_filtered"])
            conditions.append(sql)
            values |= bound
        return conditions, values

    def _joined(
        self, head: str, conditions: Sequence[str], values: Mapping[str, Any], tail: str | None = None
    ) -> Question:
        sql = self._pieces[head]
        if conditions:
            sql += "\nWHERE " + "\n    AND ".join(conditions)
        return Question(sql if tail is None else f"{sql}\n{self._pieces[tail]}", values)
