"""Filters compiled to SQLite's SQL, on a real connection."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import orjson

from penstock.stores.filters import Condition, parse
from penstock.stores.sqlite.filtering import compiled
from penstock.testing.conformance.filters import Document, Filter, FilterConformance


class TestSqliteFilters(FilterConformance):
    def compiled(self, condition: Condition) -> tuple[str, dict[str, Any]]:
        return compiled(condition, "d.metadata")

    def results(self, documents: Sequence[Document], wheres: Sequence[Filter]) -> list[list[Any]]:
        stored = [(None if each is None else orjson.dumps(each).decode(),) for each in documents]
        with closing(sqlite3.connect(":memory:")) as connection:
            connection.execute("CREATE TABLE documents (n INTEGER PRIMARY KEY, metadata TEXT)")
            connection.executemany("INSERT INTO documents (metadata) VALUES (?)", stored)
            return [[_flag(row[0]) for row in self._ask(connection, where)] for where in wheres]

    def _ask(self, connection: sqlite3.Connection, where: Filter) -> list[Any]:
        sql, values = self.compiled(parse(where))
        return connection.execute(f"SELECT {sql} FROM documents AS d ORDER BY n", values).fetchall()


def _flag(value: int | None) -> bool | None:
    return None if value is None else {0: False, 1: True}[value]
