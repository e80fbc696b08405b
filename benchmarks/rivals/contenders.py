"""Who is compared: Penstock, and each library with a job a record or with jobs that were packed by hand."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Protocol

from benchmarks.measuring import CONTENT, system, worker
from benchmarks.rivals.library import MANY, ONE, Library
from benchmarks.rivals.table import Row
from penstock.producer import Producer
from penstock.stores.registry import sql_store
from penstock.wire.ids import new_id, wall_clock_us

SESSIONS = 200
PACKED = 500
"""Rows of a job that was packed by hand."""

_HANDED_OVER_AT_ONCE = 500
_FLUSH_S = 120
_STOP_S = 30


class Place(NamedTuple):
    """Where a run happens, and nothing else: a queue server and a database with the store's schema."""

    environment: dict[str, str]
    """Of Penstock's processes."""
    database: Path

    @property
    def url(self) -> str:
        """Of the queue server."""
        return self.environment["PENSTOCK_REDIS_URL"]


@contextmanager
def place() -> Iterator[Place]:
    """A fresh one."""
    with system() as (folder, environment):
        asyncio.run(_make_schema(environment["PENSTOCK_SQL_URL"]))
        yield Place(environment, folder / "penstock.db")


async def _make_schema(url: str) -> None:
    store = sql_store(url)
    await store.setup()
    await store.close()


SendRecords = Callable[[int], Awaitable[None]]
"""Make so many records and put them into the queue. When it returns, the queue server has them all."""


class Contender(Protocol):
    """A way of records into the queue and on to the table."""

    @property
    def name(self) -> str:
        """As the tables have it."""
        ...

    @property
    def at_once(self) -> int:
        """Records that go together: the least a run warms up with."""
        ...

    def sending(self, place: Place) -> AbstractAsyncContextManager[SendRecords]:
        """A connection to the queue server."""
        ...

    def worker(self, place: Place) -> AbstractContextManager[subprocess.Popen[bytes]]:
        """A worker process, terminated at the end."""
        ...


class Penstock:
    """Default settings."""

    name = "**Penstock**, a call a record"
    at_once = _HANDED_OVER_AT_ONCE

    @asynccontextmanager
    async def sending(self, place: Place) -> AsyncIterator[SendRecords]:
        """See `Contender.sending`."""
        async with Producer.from_env(place.environment) as producer:

            async def send(records: int) -> None:
                for number in range(records):
                    producer.message(session_id=f"session-{number % SESSIONS}", role="user", content=CONTENT)
                    if number % _HANDED_OVER_AT_ONCE == 0:
                        await producer.ready()
                        await asyncio.sleep(0)
                await producer.flush(timeout=_FLUSH_S)

            yield send

    def worker(self, place: Place) -> AbstractContextManager[subprocess.Popen[bytes]]:
        """See `Contender.worker`."""
        return worker(place.environment)


class Jobs(NamedTuple):
    """Records as jobs of a library."""

    name: str
    library: Library
    at_once: int
    """Rows of a job."""

    @asynccontextmanager
    async def sending(self, place: Place) -> AsyncIterator[SendRecords]:
        """See `Contender.sending`."""
        async with self.library.sending(place.url) as send_jobs:

            async def send(records: int) -> None:
                rows = map(_row, range(records))
                if self.at_once == 1:
                    await send_jobs(ONE, rows)
                else:
                    await send_jobs(MANY, _packed(rows, self.at_once))

            yield send

    @contextmanager
    def worker(self, place: Place) -> Iterator[subprocess.Popen[bytes]]:
        """See `Contender.worker`."""
        arguments = type(self.library).__name__, place.url, str(place.database)
        with subprocess.Popen(
            [sys.executable, "-m", "benchmarks.rivals.working", *arguments], stderr=subprocess.DEVNULL
        ) as process:
            try:
                yield process
            finally:
                process.terminate()
                process.wait(_STOP_S)


def _packed(rows: Iterator[Row], at_once: int) -> Iterator[list[Row]]:
    while job := list(islice(rows, at_once)):
        yield job


def _row(number: int) -> Row:
    return new_id(), number % SESSIONS, wall_clock_us(), "user", CONTENT
