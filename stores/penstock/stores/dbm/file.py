"""A dbm file and its journal as one, under one lock."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar, cast

from penstock.stores.dbm.journal import Journal
from penstock.stores.dbm.locking import FileLock
from penstock.stores.dbm.settings import DbmSettings
from penstock.stores.dbm.table import Table
from penstock.stores.errors import StoreUnavailable
from penstock.stores.key_paths import key_at, path_of
from penstock.stores.states import Key, key_of
from penstock.wire.frames import decode, encode
from penstock.wire.ids import wall_clock_us
from penstock.wire.logs import logger
from penstock.wire.records import KeyValue

_LEAST_FOLDED = 4 * 1024 * 1024
_MOST_JOURNAL = 64 * 1024 * 1024
"""A journal is folded into the file once it is as large as half of it, but not below the one and not above the other:
it lies in the memory of every process, and folding writes the whole file."""

_FOLDED_AT_END = 16 * 1024 * 1024
"""A file up to this size is folded by who closes it, so that everybody can read it with `dbm.open`."""

_Result = TypeVar("_Result")


class KeyValueFile:
    """Rows by their keys. Belongs to one thread."""

    def __init__(self, settings: DbmSettings) -> None:
        self._settings = settings
        self._lock = FileLock(settings.beside("lock"), settings.timeout)
        self._journal = Journal(settings.beside("journal"))
        self._table = Table(settings)
        self._recent: dict[bytes, bytes] = {}
        """What the journal holds, and what it is to hold."""
        self._unsynced: dict[bytes, bytes] = {}

    def make(self) -> None:
        """Create the folder and an empty file where there is none."""
        with _translated(self._settings):
            self._settings.path.parent.mkdir(parents=True, exist_ok=True)
        with self._current():
            if not self._journal.generation:
                self._table.open()  # what lies there may be somebody else's
                self._journal.begin(1)

    def transact(self, works: Sequence[Callable[[KeyValueFile], _Result]]) -> list[_Result]:
        """Do *works*, one after the other, while no other process looks or writes. What they keep is synced once.

        Raises:
            StoreUnavailable: There is no file, it is damaged, or somebody else has the lock.
        """
        with self._current():
            if not self._journal.generation:
                raise StoreUnavailable(f"no such file: {self._settings.path}; has a worker stored anything yet?")
            outcomes = [work(self) for work in works]
            self._sync()
            return outcomes

    def rows(self, keys: Iterable[Key]) -> dict[Key, KeyValue]:
        """The rows under *keys*."""
        paths = {key: path_of(key).encode() for key in keys}
        found = {key: self._recent.get(path) or self._table.get(path) for key, path in paths.items()}
        return {key: _row(encoded) for key, encoded in found.items() if encoded is not None}

    def keys(self, namespace: str, prefix: str) -> list[Key]:
        """The keys of all rows that begin with *prefix*, by key: also of those that are deleted or have expired."""
        first = path_of((namespace, prefix)).encode()
        paths = {*self._table.paths(first), *(path for path in self._recent if path.startswith(first))}
        return [key_at(path.decode()) for path in sorted(paths)]

    def keep(self, rows: Iterable[KeyValue]) -> None:
        """Have *rows* be durable when `transact` returns, all or none."""
        encoded = {path_of(key_of(row)).encode(): encode(row, limit_bytes=None) for row in rows}
        self._recent.update(encoded)
        self._unsynced.update(encoded)

    def _sync(self) -> None:
        if not self._unsynced:
            return
        self._journal.append(self._unsynced)
        self._unsynced = {}
        if self._journal.size > min(max(_LEAST_FOLDED, self._table.size() // 2), _MOST_JOURNAL):
            self._fold()

    def close(self) -> None:
        """Fold a small file, and let go of everything."""
        try:
            if self._recent:
                with self._current():
                    if self._recent and self._table.size() + self._journal.size <= _FOLDED_AT_END:
                        self._fold()
        except StoreUnavailable as exc:
            # Nothing is lost: what was acknowledged lies in the journal.
            logger("penstock.stores").warning("dbm file not folded", reason=str(exc))
        finally:
            self._forget()
            self._lock.close()

    def _fold(self) -> None:
        """Make the file anew with what the journal holds, and without what is due."""
        due_us = wall_clock_us()
        self._table.draft(self._kept(due_us), self._journal.generation + 1)
        self._move()

    def _kept(self, now_us: int) -> Iterator[tuple[bytes, bytes]]:
        grace_us = round(self._settings.grace * 1_000_000)
        for path in sorted({*self._table.paths(b""), *self._recent}):
            encoded = self._recent.get(path) or self._table.get(path)
            row = _row(encoded or b"")
            ends_us = row.expires_at_us if row.deleted_at_us is None else row.deleted_at_us
            if ends_us is None or ends_us > now_us:
                yield path, encoded or b""
            elif ends_us + grace_us > now_us:
                yield path, encode(row._replace(value=None, deleted_at_us=ends_us), limit_bytes=None)

    def _move(self) -> None:
        generation = self._table.move()
        # Everybody who has the old file open learns by this that there is a new one, and reads no byte of it before.
        self._journal.begin(generation)
        self._table.forget_plan()
        self._refresh()

    @contextmanager
    def _current(self) -> Iterator[None]:
        """With the lock, and with everything that other processes have written."""
        with _translated(self._settings), self._lock.held():
            try:
                if self._table.is_moving():
                    self._move()
                self._refresh()
                yield
            except BaseException:
                self._forget()  # whatever it knows may be wrong
                raise

    def _refresh(self) -> None:
        anew, rows = self._journal.catch_up()
        if anew:
            self._table.open()
            self._recent = {}
        self._recent.update(rows)

    def _forget(self) -> None:
        self._journal.close()
        self._table.close()
        self._recent, self._unsynced = {}, {}


@contextmanager
def _translated(settings: DbmSettings) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise StoreUnavailable(f"{settings.path}: {exc.strerror or exc}") from exc


def _row(encoded: bytes) -> KeyValue:
    return cast("KeyValue", decode(encoded))
