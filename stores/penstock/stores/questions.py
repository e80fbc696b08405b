"""A query as SQL: pieces of a backend's `.sql` files joined, every value bound by its name.

A page is a head, its conditions joined by AND, and a tail. A field of a query has a condition where the backend's
files have a piece `<subject>_is_<field>`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, NamedTuple, TypeAlias

from penstock.stores.queries import (
    AgentStateQuery,
    ContextQuery,
    KeyValueQuery,
    LogQuery,
    MessageQuery,
    SessionQuery,
    TaskQuery,
)

Query: TypeAlias = MessageQuery | SessionQuery | LogQuery | TaskQuery | AgentStateQuery | ContextQuery | KeyValueQuery


class Question(NamedTuple):
    """One SELECT and its values. A tuple among the values is an array."""

    sql: str
    values: Mapping[str, Any]


class Questions:
    """The questions of one backend."""

    def __init__(self, pieces: Mapping[str, str]) -> None:
        """*pieces* are the backend's named statements."""
        self._pieces = pieces

    def one(self, subject: str, **key: Any) -> Question:
        """The one row of *subject* with this key."""
        return self._joined(f"{subject}_columns", [f"{subject}_id"], key)

    def page(self, subject: str, query: Query) -> Question:
        """A page of *subject*."""
        order = "ascending" if getattr(query, "ascending", subject != "session") else "descending"
        conditions = self._conditions(subject, query)
        if query.after is not None:
            conditions.append(f"{subject}_after_{order}")
        return self._joined(f"{subject}_columns", conditions, _values(query), f"{subject}_order_{order}")

    def count(self, subject: str, query: Query) -> Question:
        """How many there are on all pages."""
        return self._joined(f"{subject}_count", self._conditions(subject, query), _values(query))

    def named(self, name: str, **values: Any) -> Question:
        """The statement of that name."""
        return Question(self._pieces[name], values)

    def _conditions(self, subject: str, query: Query) -> list[str]:
        """The names of the conditions for those fields of *query* that are given and have one."""
        given = (each.name for each in fields(query) if getattr(query, each.name) not in (None, ()))
        conditions = [name for each in given if (name := f"{subject}_is_{each}") in self._pieces]
        if not getattr(query, "include_deleted", False) and (kept := f"{subject}_kept") in self._pieces:
            conditions.append(kept)
        return conditions

    def _joined(
        self, head: str, conditions: Sequence[str], values: Mapping[str, Any], tail: str | None = None
    ) -> Question:
        sql = self._pieces[head]
        if conditions:
            sql += "\nWHERE " + "\n    AND ".join(self._pieces[name] for name in conditions)
        return Question(sql if tail is None else f"{sql}\n{self._pieces[tail]}", values)


def _values(query: Query) -> dict[str, Any]:
    given = {each.name: getattr(query, each.name) for each in fields(query) if each.name != "after"}
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    if query.after is not None:
        values |= {"at_us": query.after.at_us, "at_id": query.after.id}
    return values
