"""The narrow number of each session, as far as the writer remembers it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from penstock.stores.sqlfiles import statements

_SQL = statements("penstock.stores.sqlite")

_REMEMBERED = 50_000
"""Numbers kept in memory, about 8 MB. A forgotten one costs one look into the index, about 3 us."""


class SessionNumbers:
    """The numbers of the sessions that were used last, so that writing a message needs no look into their index.

    A number that a rolled-back transaction gave is forgotten with it: SQLite gives it to another session next.
    """

    def __init__(self, remembered: int = _REMEMBERED) -> None:
        self._remembered = remembered
        self._known: dict[str, int] = {}
        self._uncommitted: dict[str, int] = {}
        self._data_version: int | None = None

    def begin(self, connection: sqlite3.Connection) -> bool:
        """Called in a new transaction: forget all where another connection has written since the last one.

        Returns whether one has, or may have.
        """
        (version,) = connection.execute("PRAGMA data_version").fetchone()
        if version == self._data_version:
            return False
        self._known.clear()
        self._data_version = version
        return True

    def of(self, connection: sqlite3.Connection, sessions: Iterable[str]) -> dict[str, int]:
        """The number of each of *sessions*, which must have rows."""
        numbers: dict[str, int] = {}
        for session in sessions:
            number = self._known.pop(session, None)
            if number is not None:
                self._known[session] = number  # again, as the one used last
            else:
                number = self._uncommitted.get(session) or self._look_up(connection, session)
            numbers[session] = number
        return numbers

    def forget(self, session: str) -> None:
        """The row of *session* is deleted."""
        self._known.pop(session, None)
        self._uncommitted.pop(session, None)

    def commit(self) -> None:
        """The transaction is committed: what it gave may be remembered."""
        self._known.update(self._uncommitted)
        self._uncommitted.clear()
        while len(self._known) > self._remembered:
            del self._known[next(iter(self._known))]

    def roll_back(self) -> None:
        """Something was rolled back: what the transaction gave may be void."""
        self._uncommitted.clear()

    def _look_up(self, connection: sqlite3.Connection, session: str) -> int:
        number: int = connection.execute(_SQL["session_no"], (session,)).fetchone()[0]
        self._uncommitted[session] = number
        return number
