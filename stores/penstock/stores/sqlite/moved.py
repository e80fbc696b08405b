"""A database that is moved or replaced while it is open: its log goes with it, and no other file gets that log."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from penstock.stores.errors import StoreUnavailable
from penstock.stores.sqlite.claim import Claim


class OpenFiles:
    """The database, its log and the log's index that a connection has open, told apart from others of their names."""

    def __init__(self, path: Path, *, was_writable: bool = True) -> None:
        """As they are now. The connection must have looked into the file, which is when it opens the log.

        *was_writable* is what `is_writable` said before it did.
        """
        self._path = path
        self._log = path.with_name(path.name + "-wal")
        self._index = path.with_name(path.name + "-shm")
        self._found = {file: _identity(file) for file in (path, self._log, self._index)}
        self._was_writable = was_writable

    def have_moved(self) -> bool:
        """Whether the names of database, log and index are no longer those of the open files."""
        return not all(map(self._is_named, self._found))

    def have_left_log(self) -> bool:
        """Whether another file has the name by now, and beside it still lies the log of the one that was moved."""
        return is_there(self._path) and not self._is_named(self._path) and self._is_named(self._log)

    def are_others_than(self, before: OpenFiles) -> bool:
        """Whether one of the files that were there *before* is another one now: which is open, nobody can say."""
        return any(was is not None and was != self._found[file] for file, was in before._found.items())

    def have_opened_up(self) -> bool:
        """Whether a file that could only be read can be written by now.

        A process has the log's index once, as its first connection could open it: until the last one closes, no other
        connection could write either.
        """
        return not self._was_writable and is_writable(self._path)

    def part(self, connection: sqlite3.Connection, claim: Claim) -> None:
        """Close *connection*; where another file has the name by now, move the log into the one that it belongs to.

        SQLite leaves the log of a moved file behind. The moved file would lack up to 40 MB, and the next file of that
        name would have them read into it, which can ruin it. Until there is one, the log waits under its name: a file
        that comes back needs it, and others may write there already. Of several writers, the one with the *claim* does.

        Raises:
            StoreUnavailable: The name is nobody's, another one is to do it, or reads the moved file. Call again later.
        """
        if not is_there(self._path):
            raise StoreUnavailable(f"{self._path} is not there; bring it back, or start a new worker")
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        if self._is_named(self._log) and not self._is_named(self._path):
            if not claim.take():
                raise StoreUnavailable(f"{self._path} was moved or replaced; another writer is about to move its log")
            self._empty_log(connection)
            # Others may have it open still. Its name must not lead them to the next file, or that one's writers to it.
            # The index first: another writer waits while the log has its name, and with a log of its own beside this
            # one's index it would ruin the file. test_a_log_goes_after_its_index fails if swapped.
            for file in (self._index, self._log):
                if self._is_named(file):
                    file.unlink(missing_ok=True)
        connection.close()

    def _empty_log(self, connection: sqlite3.Connection) -> None:
        (busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise StoreUnavailable(
                f"{self._path} was moved or replaced while others read from it; end them, so that its log can follow it"
            )

    def _is_named(self, file: Path) -> bool:
        return self._found[file] == _identity(file)


def is_writable(path: Path) -> bool:
    """Whether a database, its log and the log's index may be written, those of them that are there."""
    files = (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm"))
    return all(os.access(file, os.W_OK) for file in files if is_there(file))


def is_there(path: Path) -> bool:
    """Whether a file has that name."""
    return _identity(path) is not None


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
