"""SQLite's own errors as store errors, told apart by code and never by text."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from penstock.stores.errors import StoreError, StoreRejected, StoreUnavailable

_REFUSALS = {sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_RANGE}
"""What is wrong with the row. All else is wrong with the file, the disk or another process, and may pass."""

_REMEDIES = {
    sqlite3.SQLITE_CANTOPEN: "; is its folder there, and may this user write to it?",
    sqlite3.SQLITE_READONLY: "; may this user write the file, and to its folder?",
}


def is_there(path: Path) -> bool:
    """Whether there is a file at *path*.

    Raises:
        StoreUnavailable: It cannot be said: the folder may not be looked into, the name is too long.
    """
    try:
        return path.exists()
    except OSError as exc:
        raise StoreUnavailable(f"no database can be opened at {path}: {exc.strerror}") from exc


@contextmanager
def translated() -> Iterator[None]:
    """Turn what the driver raises into store errors, keeping the cause. No stored value gets into a text."""
    try:
        yield
    except sqlite3.Error as exc:
        raise _store_error(exc) from exc
    except TypeError as exc:
        raise StoreRejected("a field is of a type that no column holds") from exc
    except OverflowError as exc:
        raise StoreRejected("an integer does not fit 64 bits") from exc
    except UnicodeEncodeError as exc:
        raise StoreRejected("a text holds a lone surrogate, which UTF-8 cannot express") from exc


def _store_error(exc: sqlite3.Error) -> StoreError:
    code: int | None = getattr(exc, "sqlite_errorcode", None)
    if code is None:  # the driver refused to bind a value; it never asked the library
        return StoreRejected(str(exc))
    if code == sqlite3.SQLITE_CONSTRAINT_TRIGGER:  # whose author may quote the row
        return StoreRejected("a trigger refuses the row")
    if code & 0xFF in _REFUSALS:
        return StoreRejected(str(exc))
    if code & 0xFF == sqlite3.SQLITE_ERROR:
        return StoreUnavailable(f"{exc}; the schema is not the one expected (`setup()` makes it)")
    return StoreUnavailable(f"{exc} ({exc.sqlite_errorname}){_REMEDIES.get(code & 0xFF, '')}")
