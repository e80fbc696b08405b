"""SAQ, with MessagePack for JSON."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgpack
from saq import Queue, Worker

from benchmarks.rivals.library import MANY, ONE, Send, spread
from benchmarks.rivals.table import Row, Table

_WIDTH = 20
"""As many calls as a queue lets through at once (`max_concurrent_ops`)."""


class Saq:
    """See `Library`."""

    distributions = ("saq",)
    settings = "MessagePack, no results kept, 10 jobs at a time (the default)"
    abandoned = "60 s (a sweep); never, where a job had begun and `retries` is 1, the default"

    @asynccontextmanager
    async def sending(self, url: str) -> AsyncIterator[Send]:
        """See `Library.sending`."""
        queue = _queue(url)

        async def send(job: str, arguments: Iterable[Any]) -> None:
            await spread((queue.enqueue(job, argument=argument, ttl=-1) for argument in arguments), _WIDTH)

        await queue.connect()
        try:
            yield send
        finally:
            await queue.disconnect()

    def work(self, url: str, database: Path) -> None:
        """See `Library.work`."""
        asyncio.run(_work(url, Table(database)))


def _queue(url: str) -> Any:
    return Queue.from_url(url, dump=msgpack.packb, load=partial(msgpack.unpackb, raw=False))


async def _work(url: str, table: Table) -> None:
    async def insert_one(_: dict[str, Any], *, argument: Row) -> None:
        await table.insert(argument)

    async def insert_many(_: dict[str, Any], *, argument: list[Row]) -> None:
        await table.insert_all(argument)

    queue = _queue(url)
    await queue.connect()
    try:
        await Worker(queue, functions=[(ONE, insert_one), (MANY, insert_many)]).start()
    finally:
        await queue.disconnect()
