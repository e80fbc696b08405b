"""The folder of a machine's spools: a file for each running producer, and those that ended ones have left."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from penstock.producer.overflow import producer_log
from penstock.producer.spool_file import SpoolDamaged, SpoolFailed, SpoolFile, look, set_aside
from penstock.producer.spool_lock import FileLock

_SUFFIX = ".spool"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spooled:
    """What waits in a folder, whoever put it there."""

    records: int = 0
    size: int = 0
    """Bytes of the records and their keys."""
    oldest_us: int | None = None
    """When the first of them was put there; None when there is none."""
    unreadable: tuple[Path, ...] = ()
    """Files that could not be looked at, and those that were set aside."""


class SpoolFolder:
    """The files of one namespace in a folder. Other namespaces may have theirs beside them."""

    def __init__(self, folder: Path, namespace: str) -> None:
        self.path = folder.expanduser().absolute()
        self._namespace = namespace
        self._prefix = f"{quote(namespace, safe='')}."

    def take_left(self, most: int = sys.maxsize) -> list[SpoolFile]:
        """Files that nobody uses and that hold records, the oldest first, all or so many. They are the caller's alone.

        What is none of ours, or broken, gets another name; this is logged and never raised.

        Raises:
            SpoolFailed: The folder cannot be used.
        """
        self._make_folder()
        taken: list[SpoolFile] = []
        try:
            for _, path in self._files():
                if len(taken) == most:
                    break
                with self._usable():
                    lock = FileLock.take(_lock_path(path))
                file = self._opened(path, lock) if lock else None
                if file is not None:
                    taken.append(file)
        except SpoolFailed:
            for file in taken:  # or nobody else could take them
                file.close()
            raise
        return sorted(taken, key=lambda file: file.created_at_us)

    def _opened(self, path: Path, lock: FileLock) -> SpoolFile | None:
        try:
            file = SpoolFile(path, lock, self._namespace)
            if file.totals()[0]:
                return file
            file.delete()
        except SpoolDamaged as exc:
            try:
                with self._usable():
                    log_set_aside(exc, set_aside(path))
            finally:
                lock.release()
        except SpoolFailed as exc:
            lock.release()
            producer_log().error("a spool cannot be read; its records wait there", reason=str(exc), path=str(path))
        return None

    def make(self) -> SpoolFile:
        """A new file under the lowest free number. Raises `SpoolFailed`."""
        self._make_folder()
        for number in itertools.count():
            path = self.path / f"{self._prefix}{number}{_SUFFIX}"
            with self._usable():
                lock = None if path.exists() else FileLock.take(_lock_path(path))
                if lock is not None and path.exists():  # another one made it, filled it and ended meanwhile
                    lock.release()
                    lock = None
            if lock is not None:
                return self._made(path, lock)
        raise AssertionError("numbers do not end")

    def _made(self, path: Path, lock: FileLock) -> SpoolFile:
        try:
            return SpoolFile(path, lock, self._namespace)
        except SpoolFailed:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            lock.release()
            raise

    def spooled(self) -> Spooled:
        """What waits there now, seen beside those who use it."""
        records = size = 0
        oldest, unreadable = [], []
        for _, path in self._files():
            try:
                held = look(path)
            except SpoolFailed:
                if path.exists():  # else it was emptied and removed meanwhile
                    unreadable.append(path)
                continue
            records, size = records + held.records, size + held.size
            if held.oldest_us is not None:
                oldest.append(held.oldest_us)
        unreadable += sorted(self.path.glob(f"{self._prefix}*{_SUFFIX}.damaged-*[0-9]"))
        return Spooled(records=records, size=size, oldest_us=min(oldest, default=None), unreadable=tuple(unreadable))

    def _make_folder(self) -> None:
        with self._usable():
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not os.access(self.path, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    def _files(self) -> list[tuple[int, Path]]:
        """The namespace's files by their numbers."""
        found = []
        for path in self.path.glob(f"{self._prefix}*{_SUFFIX}"):
            number = path.name.removeprefix(self._prefix).removesuffix(_SUFFIX)
            if number.isascii() and number.isdigit():
                found.append((int(number), path))
        return sorted(found)

    @contextlib.contextmanager
    def _usable(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            reason = "it is a file" if self.path.is_file() else exc.strerror or str(exc)
            raise SpoolFailed(
                f"the folder {self.path} cannot be used for the spool: {reason}; mend it, or set spool_dir to another "
                f"(PENSTOCK_SPOOL_DIR)"
            ) from exc


def log_set_aside(exc: SpoolDamaged, aside: Path) -> None:
    """Say that a file is none of a spool's any more, and where it is."""
    producer_log().error(
        "a spool is damaged and was set aside; its records are not sent", reason=str(exc), kept_as=str(aside)
    )


def _lock_path(path: Path) -> Path:
    return path.with_suffix(".lock")
