"""A copy of a file while it is written, through SQLite's own backup."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from threading import Event

from penstock.stores.errors import StoreUnavailable
from penstock.stores.sqlfiles import statements
from penstock.stores.sqlite.settings import SqliteSettings
from penstock.stores.sqlite.translation import is_there, translated

_SQL = statements("penstock.stores.sqlite")

_PAGES = 1_000
"""Copied between two looks at whether to stop: 8 MB."""


class _Stopped(Exception):
    """Nobody waits for the copy any more."""


def copy(settings: SqliteSettings, to: Path, tell: Callable[[int, int], object], stop: Event) -> None:
    """Write the database as it is now to *to*, a new file, and check it. Ends early, with *to* half done, by *stop*.

    Raises:
        StoreUnavailable: There is no database, the disk is full, or the copy is not sound.
    """
    if not is_there(settings.path):
        raise StoreUnavailable(f"no such database: {settings.path}; has a worker stored anything yet?")

    def look(_: int, remaining: int, total: int) -> None:
        tell(total - remaining, total)
        if stop.is_set():
            raise _Stopped

    with (
        translated(),
        closing(sqlite3.connect(settings.uri("ro"), uri=True, isolation_level=None)) as source,
        closing(sqlite3.connect(to, isolation_level=None)) as target,
    ):
        source.execute(f"PRAGMA busy_timeout = {settings.busy_timeout_ms:d}")
        # One transaction for all pages. Without it every commit of a writer has the copy begin anew, and it never ends;
        # with it a writer waits for nothing, and the log grows until the copy is done.
        source.execute("BEGIN")
        source.execute(_SQL["schema_version"]).fetchone()
        source.backup(target, pages=_PAGES, progress=look)
        target.execute("PRAGMA journal_mode = DELETE")  # one file, which may also lie where nothing can be written
        found = target.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if found != "ok":
        raise StoreUnavailable(f"the copy of {settings.path} is not sound: {found}; is the database itself?")
