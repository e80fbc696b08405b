"""arq, with MessagePack for pickle as its documentation shows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import msgpack
from arq import create_pool
from arq.connections import RedisSettings
from arq.worker import Worker, func

from benchmarks.rivals.library import MANY, ONE, Send, spread
from benchmarks.rivals.table import Row, Table

_load = partial(msgpack.unpackb, raw=False)


class Arq:
    """See `Library`. *width* calls of `enqueue_job` are under way at a time."""

    distributions = ("arq",)
    settings = "MessagePack, no results kept, a poll each 10 ms (by default each 500 ms)"
    abandoned = "310 s (`job_timeout` + 10)"

    def __init__(self, width: int = 32) -> None:
        self._width = width

    @asynccontextmanager
    async def sending(self, url: str) -> AsyncIterator[Send]:
        """See `Library.sending`."""
        pool = await create_pool(RedisSettings.from_dsn(url), job_serializer=msgpack.packb, job_deserializer=_load)

        async def send(job: str, arguments: Iterable[Any]) -> None:
            await spread((pool.enqueue_job(job, argument) for argument in arguments), self._width)

        try:
            yield send
        finally:
            await pool.aclose()

    def work(self, url: str, database: Path) -> None:
        """See `Library.work`."""
        table = Table(database)

        async def insert_one(_: dict[Any, Any], row: Row) -> None:
            await table.insert(row)

        async def insert_many(_: dict[Any, Any], rows: list[Row]) -> None:
            await table.insert_all(rows)

        Worker(
            functions=[func(cast("Any", insert_one), name=ONE), func(cast("Any", insert_many), name=MANY)],
            redis_settings=RedisSettings.from_dsn(url),
            poll_delay=0.01,
            keep_result=0,
            log_results=False,
            job_serializer=msgpack.packb,
            job_deserializer=_load,
        ).run()
