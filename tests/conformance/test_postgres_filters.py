"""Filters compiled to PostgreSQL's SQL, on a real server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import orjson
import pytest

from penstock.stores.filters import Condition, parse
from penstock.stores.postgres.binding import numbered
from penstock.stores.postgres.filtering import compiled
from penstock.stores.questions import Question
from penstock.testing.conformance.filters import Document, Filter, FilterConformance
from tests.conformance.postgres_server import Postgres, Schema


class TestPostgresFilters(FilterConformance):
    schema: ClassVar[Schema]

    def compiled(self, condition: Condition) -> tuple[str, dict[str, Any]]:
        return compiled(condition, "d.metadata")

    def results(self, documents: Sequence[Document], wheres: Sequence[Filter]) -> list[list[Any]]:
        stored = [None if each is None else orjson.dumps(each).decode() for each in documents]
        table = f"{self.schema.name}.documents"
        self.schema.server.execute(f"TRUNCATE {table} RESTART IDENTITY")
        self.schema.server.rows(f"INSERT INTO {table} (metadata) SELECT * FROM unnest($1::json[])", stored)
        return [self._ask(table, where) for where in wheres]

    def _ask(self, table: str, where: Filter) -> list[Any]:
        sql, values = self.compiled(parse(where))
        sql, numbered_values = numbered(Question(f"SELECT {sql} FROM {table} AS d ORDER BY n", values))
        return [value for (value,) in self.schema.server.rows(sql, *numbered_values)]


@pytest.fixture(scope="module", autouse=True)
def _table(postgres: Postgres) -> Iterator[None]:
    """For `results`, which can ask for no fixture."""
    with postgres.schema() as schema:
        TestPostgresFilters.schema = schema
        postgres.execute(f"CREATE TABLE {schema.name}.documents (n serial PRIMARY KEY, metadata json)")
        yield
