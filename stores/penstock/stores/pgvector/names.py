"""SQL with the names that no value can stand for: schemas, a collection's table, an operator.

None of them comes from a record. A collection's table is called by its number, and a schema by its URL or the server.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from penstock.stores.sqlfiles import statements

_SQL = statements("penstock.stores.pgvector")


class Names(NamedTuple):
    """How a database calls what the statements are about."""

    home: str
    """Before the name of every table of ours: `"schema".`, or nothing."""
    extension: str
    """Before every type and operator of the extension, so that the role's `search_path` need not lead to it."""

    def sql(self, statement: str, **parts: str) -> str:
        """The text of *statement* with all names in their places; *parts* are those that only it has."""
        return _SQL[statement].format(home=self.home, extension=self.extension, **parts)

    def of(self, statement: str, number: int) -> str:
        """The text of *statement* about the collection with this *number*."""
        return _about(self, statement, number)

    def table(self, number: int) -> str:
        """The table of the collection with this *number*."""
        return f"{self.home}vectors_{number}"


def prefix(schema: str | None) -> str:
    """What goes before the name of what lies in *schema*."""
    return "" if schema is None else '"{}".'.format(schema.replace('"', '""'))


@cache
def _about(names: Names, statement: str, number: int) -> str:
    return names.sql(statement, table=names.table(number), number=str(number))
