"""The writing connection of a file, with what is done beside batches: work of its own, and the file's own needs."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias, TypeVar

from penstock.stores.contract import Trial
from penstock.stores.errors import StoreError, StoreRejected
from penstock.stores.sqlite.batch import Batch
from penstock.stores.sqlite.connection import WritingConnection
from penstock.stores.sqlite.numbers import SessionNumbers
from penstock.stores.sqlite.settings import SqliteSettings
from penstock.stores.sqlite.translation import translated
from penstock.wire.records import Record

_LARGE_LOG_BYTES = 4 * 1024 * 1024
"""A log that is worth a checkpoint between those that its growth brings about."""

_INCREMENTAL = 2
_VACUUMED_PAGES = 1_000
"""Pages given back at once: 8 MB."""

_Result = TypeVar("_Result")

Work: TypeAlias = Callable[[sqlite3.Connection, SessionNumbers], _Result]
"""What is done in a transaction. It tells the numbers which sessions are gone."""


class KeepingConnection(WritingConnection):
    """See `WritingConnection`."""

    def __init__(self, settings: SqliteSettings) -> None:
        super().__init__(settings)
        self._changes_seen = -1

    def transact(self, work: Work[_Result]) -> _Result:
        """Do *work* in a transaction of its own.

        Raises:
            StoreUnavailable: It may or may not be done.
        """
        with self._trusted() as connection, self._transaction(connection):
            return work(connection, self._numbers)

    def rehearse(self, work: Work[_Result]) -> _Result:
        """Do *work* in a transaction, for what it returns, and roll it back. Nobody else can write meanwhile."""
        with self._trusted() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                return work(connection, self._numbers)
            finally:
                connection.execute("ROLLBACK")

    def try_out(self, records: Sequence[Record]) -> list[Trial]:
        """See `Store.rehearse`. Nobody else can write meanwhile."""
        with self._trusted() as connection:
            self._begin(connection)
            try:
                return [self._trial(connection, record) for record in records]
            finally:
                connection.execute("ROLLBACK")
                self._numbers.roll_back()

    def _trial(self, connection: sqlite3.Connection, record: Record) -> Trial:
        try:
            outcome = self._attempt(connection, Batch.of([record]))
        except StoreRejected as exc:
            outcome = exc
        if isinstance(outcome, StoreRejected):
            return Trial(is_new=False, refusal=str(outcome))
        if isinstance(outcome, StoreError):
            raise outcome
        return Trial(is_new=outcome > 0)

    def tidy(self) -> dict[str, int]:
        """Move a large log into the file while nobody writes, give back free pages where the file is made for that, and
        let SQLite renew statistics that have become wrong. Returns the pages of each.

        Left to the one that checkpoints: for everybody else it does nothing.
        """
        if not self._claim.held:
            return {}
        with self._trusted() as connection:
            done = {"checkpointed_pages": self._checkpoint_if_idle(connection), "freed_pages": _vacuum(connection)}
            self._suit_log(connection)  # the file has grown
            connection.execute("PRAGMA analysis_limit = 400").fetchall()  # rows of an index that are looked at
            connection.execute("PRAGMA optimize").fetchall()
            self._changes_seen = connection.total_changes
        return {what: pages for what, pages in done.items() if pages}

    @contextlib.contextmanager
    def _trusted(self) -> Iterator[sqlite3.Connection]:
        """The connection. After any error it is closed, which rolls back."""
        try:
            with translated():
                yield self._open("rw")
        except BaseException:
            self._let_go()
            raise

    def _checkpoint_if_idle(self, connection: sqlite3.Connection) -> int:
        """Returns how many pages were moved. Where much is written, the log's own growth has it moved."""
        if connection.total_changes != self._changes_seen or self._log_bytes() < _LARGE_LOG_BYTES:
            return 0
        # Never waits for a reader, as the other kinds do: what one still needs is moved the next time.
        moved: int = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[2]
        return max(0, moved)

    def _log_bytes(self) -> int:
        log = self._settings.path.with_name(self._settings.path.name + "-wal")
        try:
            return log.stat().st_size
        except FileNotFoundError:
            return 0


def _vacuum(connection: sqlite3.Connection) -> int:
    """Give back some free pages, of a file that was made with `auto_vacuum = INCREMENTAL`. Returns how many."""
    (mode,) = connection.execute("PRAGMA auto_vacuum").fetchone()
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    if mode != _INCREMENTAL or not free:
        return 0
    # Answers with a row without columns for each page, of which `execute` takes the first alone.
    connection.executescript(f"PRAGMA incremental_vacuum({_VACUUMED_PAGES:d})")
    (left,) = connection.execute("PRAGMA freelist_count").fetchone()
    return int(free - left)
