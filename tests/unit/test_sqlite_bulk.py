"""Rows of any number, inserted many in a statement."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from penstock.stores.sqlite.bulk import insert, laid

INSERT = "INSERT INTO t (id, text) VALUES (?, CAST(? AS TEXT)) ON CONFLICT (id) DO NOTHING"


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as made:
        made.execute("CREATE TABLE t (no INTEGER PRIMARY KEY, id INTEGER UNIQUE, text TEXT)")
        yield made


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 845, 4_095, 4_096, 4_097, 12_000])
def test_every_row_is_written_once_and_in_order(connection: sqlite3.Connection, rows: int) -> None:
    ids = [7 * number % 12_001 for number in range(rows)]

    written = insert(connection, INSERT, laid([(one, str(one)) for one in ids]))

    assert written == rows
    assert connection.execute("SELECT id, text FROM t ORDER BY no").fetchall() == [(one, str(one)) for one in ids]


def test_a_statement_takes_no_more_values_than_sqlite_does(connection: sqlite3.Connection) -> None:
    columns = [f"c{number}" for number in range(24)]
    connection.execute(f"CREATE TABLE wide ({', '.join(columns)})")
    insert_wide = f"INSERT INTO wide VALUES ({', '.join('?' * 24)}) ON CONFLICT DO NOTHING"

    assert insert(connection, insert_wide, laid([range(24)] * 3_000)) == 3_000


def test_rows_that_are_there_are_not_counted(connection: sqlite3.Connection) -> None:
    insert(connection, INSERT, laid([(one, "first") for one in range(0, 900, 3)]))

    assert insert(connection, INSERT, laid([(one, "second") for one in range(900)])) == 600


def test_a_statement_whose_row_cannot_be_repeated_is_refused(connection: sqlite3.Connection) -> None:
    with pytest.raises(ValueError, match="one row of values with a conflict clause"):
        insert(connection, "INSERT INTO t (id) VALUES (?)", laid([(one,) for one in range(40)]))
