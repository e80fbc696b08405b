"""streaQ, with MessagePack for pickle."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import msgpack
from streaq import Worker

from benchmarks.rivals.library import MANY, ONE, Send
from benchmarks.rivals.table import Row, Table

_AT_ONCE = {ONE: 500, MANY: 4}
"""Jobs of one `enqueue_many`."""


class Streaq:
    """See `Library`.

    pickle would write a string that is the same object in all rows of a job once, which no two real messages are.
    """

    distributions = ("streaq", "coredis")
    settings = "`enqueue_many`, MessagePack, no results kept, `silent`, 16 jobs at a time (the default)"
    abandoned = "60 s (`idle_timeout`)"

    @asynccontextmanager
    async def sending(self, url: str) -> AsyncIterator[Send]:
        """See `Library.sending`."""
        worker = _worker(url)

        async def send(job: str, arguments: Iterable[Any]) -> None:
            rest = iter(arguments)
            while tasks := [worker.enqueue_unsafe(job, argument) for argument in islice(rest, _AT_ONCE[job])]:
                await worker.enqueue_many(tasks)

        async with worker:
            yield send

    def work(self, url: str, database: Path) -> None:
        """See `Library.work`."""
        table = Table(database)

        async def insert_one(row: Row) -> None:
            await table.insert(row)

        async def insert_many(rows: list[Row]) -> None:
            await table.insert_all(rows)

        worker = _worker(url)
        worker.task(name=ONE, ttl=0, silent=True)(insert_one)
        worker.task(name=MANY, ttl=0, silent=True)(insert_many)
        worker.run_sync()


def _worker(url: str) -> Any:
    return Worker(redis_url=url, serializer=msgpack.packb, deserializer=msgpack.unpackb)
