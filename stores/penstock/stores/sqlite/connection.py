"""The writing connection of a file: opened when it is needed, checked to be the file that has the name."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator, Sequence

from penstock.stores.errors import SchemaTooOld, StaleOwner, StoreError, StoreRejected, StoreUnavailable
from penstock.stores.sqlfiles import statements
from penstock.stores.sqlite.batch import Batch, NotAllNew, apply
from penstock.stores.sqlite.claim import Claim
from penstock.stores.sqlite.moved import OpenFiles, is_there
from penstock.stores.sqlite.numbers import SessionNumbers
from penstock.stores.sqlite.schema import migrate, schema_version
from penstock.stores.sqlite.settings import SqliteSettings
from penstock.stores.sqlite.translation import translated
from penstock.wire.logs import logger

_PAGE_BYTES = 8_192
_UNLIMITED_PAGES = 2**30
_FIXED_IN = (3, 51, 3)
_LOGGER = "penstock.stores.sqlite"
_PROBE = "penstock health"
_TRIES = 3

_SQL = statements("penstock.stores.sqlite")

_FATES = (StoreRejected, StaleOwner, SchemaTooOld)
"""What becomes of one batch and not of those that share its commit."""


class WritingConnection:
    """One connection that writes, and alone checkpoints. Belongs to the thread that uses it first."""

    def __init__(self, settings: SqliteSettings) -> None:
        self._settings = settings
        self._claim = Claim(settings.path)
        self._warned = False
        self._connection: sqlite3.Connection | None = None
        self._files: OpenFiles | None = None
        self._moved: list[tuple[OpenFiles, sqlite3.Connection]] = []
        self._numbers = SessionNumbers()
        self._schema = 0

    def setup(self) -> None:
        """Create the file and its folder, and bring the schema up to date. See `Store.setup`."""
        try:
            with translated():
                self._make_folder()
                connection = self._opened_to_stay("rwc")
                migrate(connection)
                self._schema = schema_version(connection)  # a connection is not told of what it has written itself
        except BaseException:
            self._let_go()  # a file that may not be written is opened all the same, and would stay so
            raise

    def _make_folder(self) -> None:
        folder = self._settings.path.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise StoreUnavailable(f"{folder} cannot be made: {exc.strerror}") from exc

    def probe(self) -> None:
        """Write a row in a transaction and roll it back: the lock, the rights and the schema are there to write.

        That the disk has room for a commit it does not tell.
        """
        try:
            with translated():
                connection = self._open("rw")
                connection.execute("BEGIN IMMEDIATE")
                connection.execute(_SQL["raise_fence"], (_PROBE, 1))
                connection.execute("ROLLBACK")
        except BaseException:
            self._let_go()
            raise

    def write(self, batches: Sequence[Batch]) -> list[int | StoreError]:
        """Write *batches* in one transaction, in order: how many records of each were new, or why it was refused.

        After an error the connection is closed, which rolls back: only a new one can be trusted, and opening it
        takes 1 ms.

        Raises:
            StoreUnavailable: All of it may or may not be written.
        """
        try:
            with translated():
                outcomes = self._commit(self._opened_to_stay("rw"), batches)
            self._refuse_moved()
        except BaseException:
            self._let_go()
            raise
        return outcomes

    def close(self) -> None:
        """Close the file. The next call opens it again."""
        self._let_go()
        try:
            with contextlib.suppress(sqlite3.Error, StoreUnavailable):
                self._part_with_moved()
        finally:
            for _, connection in self._moved:
                connection.close()
            self._moved.clear()

    def follow(self) -> None:
        """Let go of a file that was moved or replaced, and have its log follow it.

        Raises:
            StoreUnavailable: Not now; see `OpenFiles.part`.
        """
        with translated():
            if self._files is not None and self._files.have_moved():
                self._let_go()
            self._part_with_moved()

    def _let_go(self) -> None:
        """Close the file, unless it lies elsewhere by now: then its log is still to follow it."""
        connection, self._connection = self._connection, None
        self._numbers = SessionNumbers()
        try:
            if connection is not None and self._files is not None and self._files.have_moved():
                self._moved.append((self._files, connection))
            elif connection is not None:
                connection.close()
        finally:
            self._claim.release()

    def _part_with_moved(self) -> None:
        while self._moved:
            files, connection = self._moved[0]
            try:
                files.part(connection, self._claim)
            finally:
                self._claim.release()  # taken anew by one that writes, who then checkpoints
            self._moved.pop(0)

    def _refuse_moved(self) -> None:
        """Refuse what was just committed where the file was moved meanwhile: whoever looks for it looks elsewhere."""
        if self._files is not None and self._files.have_moved():
            raise StoreUnavailable(f"{self._settings.path} was moved or replaced during a commit, which is repeated")

    def _commit(self, connection: sqlite3.Connection, batches: Sequence[Batch]) -> list[int | StoreError]:
        """All batches as one, and only if one of them is refused or known, each apart.

        A savepoint has SQLite copy every page before its first change, again for each statement of many rows:
        3.5 us a message of 8.
        """
        outcomes: list[int | StoreError]
        try:
            with self._transaction(connection):
                outcomes = [self._apply(connection, batch, hopeful=True) for batch in batches]
        except (NotAllNew, *_FATES):
            with self._transaction(connection):
                outcomes = [self._attempt(connection, batch) for batch in batches]
        return outcomes

    @contextlib.contextmanager
    def _transaction(self, connection: sqlite3.Connection) -> Iterator[None]:
        """Commit what the block writes; roll it back where it finds that it must not be written."""
        self._begin(connection)
        try:
            with translated():
                yield
        except (NotAllNew, *_FATES):
            connection.execute("ROLLBACK")
            self._numbers.roll_back()
            raise
        connection.execute("COMMIT")
        self._numbers.commit()

    def _begin(self, connection: sqlite3.Connection) -> None:
        # Never a plain BEGIN: it would become a write later, when SQLITE_BUSY can no longer be waited out.
        connection.execute("BEGIN IMMEDIATE")
        if self._numbers.begin(connection):
            self._schema = schema_version(connection)

    def _apply(self, connection: sqlite3.Connection, batch: Batch, *, hopeful: bool) -> int:
        return apply(connection, self._numbers, batch, hopeful=hopeful, schema=self._schema)

    def _attempt(self, connection: sqlite3.Connection, batch: Batch) -> int | StoreError:
        connection.execute("SAVEPOINT batch")
        outcome: int | StoreError
        try:
            with translated():
                outcome = self._apply(connection, batch, hopeful=False)
        except _FATES as exc:
            connection.execute("ROLLBACK TO batch")
            self._numbers.roll_back()
            outcome = exc
        connection.execute("RELEASE batch")
        return outcome

    def _open(self, mode: str) -> sqlite3.Connection:
        """The connection, to the file that has the name now: one that was moved away would swallow what is written."""
        if self._connection is not None and self._files is not None and self._files.have_moved():
            self._let_go()
        self._part_with_moved()
        if self._connection is None:
            if mode == "rw" and not is_there(self._settings.path):
                raise StoreUnavailable(f"{self._settings.path} is not there; bring it back, or start a new worker")
            self._connection = self._connect(mode)
        return self._connection

    def _opened_to_stay(self, mode: str) -> sqlite3.Connection:
        """The connection of one that writes on, and so takes its turn to checkpoint."""
        connection = self._open(mode)
        if not self._claim.held:
            self._claim_checkpoints(connection)
        return connection

    def _claim_checkpoints(self, connection: sqlite3.Connection) -> None:
        """Two that checkpoint can damage the log of an old SQLite; when the other writer is gone, it is our turn."""
        if self._claim.take():
            self._suit_log(connection)
        elif not self._warned:
            self._warned = True
            _warn_of_another_writer(self._settings)

    def _suit_log(self, connection: sqlite3.Connection) -> None:
        """Have the log checkpointed at the size that suits the file."""
        (file_pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA wal_autocheckpoint = {self._settings.log_pages(file_pages):d}")

    def _connect(self, mode: str) -> sqlite3.Connection:
        for _ in range(_TRIES):
            before = OpenFiles(self._settings.path)
            connection = self._connect_once(mode)
            self._files = OpenFiles(self._settings.path)
            if not self._files.are_others_than(before):
                return connection
            connection.close()
        raise StoreUnavailable(f"{self._settings.path} was replaced again and again while it was opened")

    def _connect_once(self, mode: str) -> sqlite3.Connection:
        settings = self._settings
        connection = sqlite3.connect(settings.uri(mode), uri=True, isolation_level=None, cached_statements=128)
        try:
            connection.execute(f"PRAGMA busy_timeout = {settings.busy_timeout_ms:d}")
            connection.execute(f"PRAGMA page_size = {_PAGE_BYTES:d}")  # heard only by a file that is still empty
            _switch_to_wal(connection, settings.busy_timeout_ms / 1000)
            for pragma in _pragmas(settings, *connection.execute("PRAGMA page_size").fetchone()):
                connection.execute(f"PRAGMA {pragma}")
            connection.execute("PRAGMA schema_version").fetchone()  # the first look into the file opens its log
        except BaseException:
            connection.close()
            raise
        return connection


def _pragmas(settings: SqliteSettings, page_bytes: int) -> Sequence[str]:
    return (
        f"synchronous = {settings.synchronous}",
        f"cache_size = -{settings.cache_kib:d}",
        "wal_autocheckpoint = 0",
        "journal_size_limit = 67108864",
        "temp_store = MEMORY",
        f"max_page_count = {settings.max_size_mb * 1024 * 1024 // page_bytes or _UNLIMITED_PAGES:d}",
    )


def _switch_to_wal(connection: sqlite3.Connection, patience_s: float) -> None:
    """Turn the log on. While another process does the same, SQLite reports a lock at once, whatever the timeout."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _warn_of_another_writer(settings: SqliteSettings) -> None:
    """Between 3.7.0 and 3.51.2 two writers can damage the log (sqlite.org/wal.html, "the WAL-reset bug")."""
    if sqlite3.sqlite_version_info < _FIXED_IN:
        logger(_LOGGER).warning(
            "sqlite_has_two_writers",
            path=str(settings.path),
            sqlite=sqlite3.sqlite_version,
            remedy="run one worker on this file, or use SQLite 3.51.3 or newer, or PostgreSQL",
        )
