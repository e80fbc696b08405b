"""Stores that `penstock bench` makes, writes to past Penstock, and removes."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import UUID, uuid4

from penstock.cli.connection import sql_at
from penstock.cli.exits import Code, Stop
from penstock.stores.registry import sql_store
from penstock.stores.sqlfiles import statements
from penstock.wire.ids import from_us, new_id

SESSIONS = 200
CONTENT = "The reservoir lets out at the rate the turbines can take. " * 5
"""290 characters, as a message of an agent's has them."""

_PROBE_TIMEOUT_S = 10.0


class Place(ABC):
    """Where a run's records end. As text, for people."""

    is_parallel: bool
    """Whether several workers write at the same time."""

    @abstractmethod
    def fresh(self) -> contextlib.AbstractContextManager[str]:
        """The URL of an empty store with the schema in it, which is gone after the block."""

    @abstractmethod
    def bare(self, url: str, records: int, batch: int) -> float:
        """Records a second by the driver's best bulk statement, in transactions of *batch*, into an empty store."""


def place_of(url: str | None, folder: Path) -> Place:
    """A SQLite file in *folder*, or, where *url* is given, a file beside that one or a schema of that database.

    Raises:
        Stop: A store of that kind cannot be compared.
        BadStoreURL, UnknownBackend, MissingExtra: As for `sql_store`.
    """
    if url is None:
        return SqlitePlace(f"sqlite:///{folder / 'bench.db'}")
    sql_store(url)
    scheme = urlsplit(url).scheme.partition("+")[0]
    if scheme == "sqlite":
        return SqlitePlace(url)
    if scheme in ("postgresql", "postgres"):
        return PostgresPlace(url)
    raise Stop(f"there is no bare driver to compare {scheme}:// with; sqlite:// and postgresql:// can be", Code.USAGE)


async def _set_up(url: str) -> None:
    async with sql_at(url) as store:
        await store.setup()


class SqlitePlace(Place):
    """A file beside the one of the URL, with its options."""

    is_parallel = False

    def __init__(self, url: str) -> None:
        from penstock.stores.sqlite.settings import parse  # noqa: PLC0415 - see `app`

        self._settings = parse(url)
        self._options = urlsplit(url).query

    def __str__(self) -> str:
        return f"a SQLite file in {self._settings.path.parent}"

    @contextlib.contextmanager
    def fresh(self) -> Iterator[str]:
        """See `Place.fresh`."""
        beside = self._settings.path
        path = beside.with_name(f"{beside.name}.bench-{uuid4().hex[:12]}")
        url = f"sqlite:///{quote(str(path))}" + (f"?{self._options}" if self._options else "")
        try:
            asyncio.run(_set_up(url))
            yield url
        finally:
            for each in path.parent.glob(f"{path.name}*"):
                each.unlink(missing_ok=True)

    def bare(self, url: str, records: int, batch: int) -> float:
        """See `Place.bare`."""
        from penstock.stores.sqlite.settings import parse  # noqa: PLC0415 - see `app`

        sql = statements("penstock.cli")
        now = time.time_ns() // 1000
        rows = [(new_id(), n % SESSIONS, now + n, CONTENT) for n in range(records)]
        with contextlib.closing(self._connected(parse(url).path)) as connection:
            connection.executemany(sql["bare_sqlite_session"], [(n, f"session-{n}") for n in range(SESSIONS)])
            began = time.perf_counter()
            for at in range(0, records, batch):
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany(sql["bare_sqlite_message"], rows[at : at + batch])
                connection.execute("COMMIT")
            return records / (time.perf_counter() - began)

    def _connected(self, path: Path) -> sqlite3.Connection:
        given = replace(self._settings, path=path)
        connection = sqlite3.connect(path, isolation_level=None)
        for name, value in (
            ("journal_mode", "WAL"),
            ("synchronous", given.synchronous),
            ("cache_size", -given.cache_kib),
            ("wal_autocheckpoint", given.log_pages(0)),
        ):
            connection.execute(f"PRAGMA {name}={value}")
        return connection


class PostgresPlace(Place):
    """A schema of its own in the database of the URL."""

    is_parallel = True

    def __init__(self, url: str) -> None:
        from penstock.stores.postgres.settings import parse  # noqa: PLC0415 - see `app`

        self._url = url
        self._where = parse(url).where

    def __str__(self) -> str:
        return f"a schema of PostgreSQL at {self._where}"

    @contextlib.contextmanager
    def fresh(self) -> Iterator[str]:
        """See `Place.fresh`."""
        schema = f"penstock_bench_{uuid4().hex[:12]}"
        url = f"{self._url}{'&' if urlsplit(self._url).query else '?'}options={quote(f'-csearch_path={schema}')}"
        try:
            asyncio.run(self._execute("make_postgres_schema", schema))
            asyncio.run(_set_up(url))
            yield url
        finally:
            asyncio.run(self._execute("drop_postgres_schema", schema))

    async def _execute(self, name: str, schema: str) -> None:
        connection = await _connect(self._url)
        try:
            await connection.execute(statements("penstock.cli")[name].format(schema=schema))
        finally:
            await connection.close()

    def bare(self, url: str, records: int, batch: int) -> float:
        """See `Place.bare`. By COPY."""
        return asyncio.run(self._copied(url, records, batch))

    async def _copied(self, url: str, records: int, batch: int) -> float:
        now = time.time_ns() // 1000
        rows = [
            (UUID(bytes=new_id()), from_us(now + n), f"session-{n % SESSIONS}", "user", CONTENT, 0, False)
            for n in range(records)
        ]
        columns = ("id", "created_at", "session_id", "role", "content", "version", "normalised")
        connection = await _connect(url)
        try:
            began = time.perf_counter()
            for at in range(0, records, batch):
                await connection.copy_records_to_table("messages", records=rows[at : at + batch], columns=columns)
            return records / (time.perf_counter() - began)
        finally:
            await connection.close()


async def _connect(url: str) -> Any:
    import asyncpg  # noqa: PLC0415 - see `app`

    from penstock.stores.postgres.settings import parse  # noqa: PLC0415

    given = parse(url)
    try:
        return await asyncpg.connect(given.dsn, timeout=_PROBE_TIMEOUT_S)
    except (OSError, TimeoutError, asyncpg.PostgresError) as exc:
        raise Stop(f"PostgreSQL at {given.where} does not let us in: {exc or type(exc).__name__}", Code.AWAY) from exc
