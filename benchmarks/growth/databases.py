"""The SQL stores, each with fresh databases for one measurement after the other."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import asyncpg
import psutil

from benchmarks.measuring import postgres


class Database(Protocol):
    """One backend."""

    name: str

    def fresh(self) -> AbstractContextManager[str]:
        """The URL of an empty database, which is removed at the end of the block."""
        ...

    def cpu_s(self) -> float:
        """Seconds of a core that its own processes have taken so far."""
        ...


class Sqlite:
    """A file, written in the workers' processes."""

    name = "SQLite"

    @contextlib.contextmanager
    def fresh(self) -> Iterator[str]:
        """See `Database.fresh`."""
        with tempfile.TemporaryDirectory() as folder:
            yield f"sqlite:///{Path(folder) / 'penstock.db'}"

    def cpu_s(self) -> float:
        """See `Database.cpu_s`."""
        return 0.0


class Postgres:
    """A server with its own defaults."""

    name = "PostgreSQL"

    def __init__(self, url: str) -> None:
        self._url = url
        self._numbers = itertools.count(1)
        self._postmaster = psutil.Process(asyncio.run(self._postmaster_pid()))

    @contextlib.contextmanager
    def fresh(self) -> Iterator[str]:
        """See `Database.fresh`."""
        name = f"growth_{next(self._numbers)}"
        asyncio.run(self._execute(f"CREATE DATABASE {name}"))
        try:
            yield self._url.replace("/postgres?", f"/{name}?")
        finally:
            asyncio.run(self._execute(f"DROP DATABASE {name} WITH (FORCE)"))

    def cpu_s(self) -> float:
        """See `Database.cpu_s`."""
        spent = self._postmaster.cpu_times()
        # Of those that have ended, too.
        total: float = spent.user + spent.system + spent.children_user + spent.children_system
        for process in self._postmaster.children():
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system
        return total

    async def _execute(self, sql: str) -> None:
        connection = await asyncpg.connect(self._url)
        try:
            await connection.execute(sql)
            await connection.execute("CHECKPOINT")  # none of what was before is written while something is measured
        finally:
            await connection.close()

    async def _postmaster_pid(self) -> int:
        connection = await asyncpg.connect(self._url)
        try:
            return psutil.Process(connection.get_server_pid()).ppid()
        finally:
            await connection.close()


@contextlib.contextmanager
def sqlite() -> Iterator[Database]:
    """SQLite, which needs no server."""
    yield Sqlite()


@contextlib.contextmanager
def postgresql() -> Iterator[Database]:
    """PostgreSQL, in a server that runs for the block."""
    with postgres() as url:
        yield Postgres(url)


DATABASES = (sqlite, postgresql)
