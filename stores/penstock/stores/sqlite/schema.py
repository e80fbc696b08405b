"""The schema of a file: made, migrated and checked."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping

from penstock.stores.sqlfiles import Migration, migrations, pending, refuse_newer, statements

MIGRATIONS = migrations("penstock.stores.sqlite")

_SQL = statements("penstock.stores.sqlite")


def migrate(connection: sqlite3.Connection) -> None:
    """Apply what is missing, all of it or nothing. Several processes may race.

    Raises:
        StoreRejected: The schema is newer than this code.
    """
    # The file's write lock is the migration lock: who comes second finds nothing to do.
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(_SQL["make_schema_table"])
        applied: Mapping[int, str] = dict(connection.execute(_SQL["applied_migrations"]))
        for migration in pending(MIGRATIONS, applied):
            _apply(connection, migration)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def applied_migrations(connection: sqlite3.Connection) -> Mapping[int, str]:
    """Number and checksum of every migration; none in a file without our tables."""
    if not connection.execute(_SQL["has_schema_table"]).fetchone()[0]:
        return {}
    return dict(connection.execute(_SQL["applied_migrations"]))


def schema_version(connection: sqlite3.Connection) -> int:
    """The number of the last migration."""
    return connection.execute(_SQL["schema_version"]).fetchone()[0] or 0


def refuse_newer_schema(number: int) -> None:
    """Raise `StoreRejected` where a file's schema is newer than this code."""
    refuse_newer(number, MIGRATIONS)


def _apply(connection: sqlite3.Connection, migration: Migration) -> None:
    for statement in _split(migration.sql):
        connection.execute(statement)
    connection.execute(
        _SQL["note_migration"],
        (migration.number, migration.name, migration.checksum, time.time_ns() // 1000),
    )


def _split(sql: str) -> Iterator[str]:
    """The statements of a file. `executescript` would commit the transaction before it runs them."""
    statement = ""
    for line in sql.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
