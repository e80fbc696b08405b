"""taskiq with the broker of taskiq-redis that acknowledges, and orjson for JSON."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from taskiq.cli.worker.args import WorkerArgs
from taskiq.cli.worker.run import start_listen
from taskiq.kicker import AsyncKicker
from taskiq.serializers import ORJSONSerializer
from taskiq_redis import RedisStreamBroker

from benchmarks.rivals.library import MANY, ONE, Send, spread
from benchmarks.rivals.table import Row, Table

_WIDTH = 32


class Taskiq:
    """See `Library`. Its messages are JSON, whatever the serializer: ids travel as text."""

    distributions = ("taskiq", "taskiq-redis")
    settings = "`RedisStreamBroker`, orjson, no result backend, `--no-parse`, 100 jobs at a time (the default)"
    abandoned = "600 s (`idle_timeout`)"

    @asynccontextmanager
    async def sending(self, url: str) -> AsyncIterator[Send]:
        """See `Library.sending`."""
        broker = _broker(url)

        async def send(job: str, arguments: Iterable[Any]) -> None:
            task = AsyncKicker(job, broker, {})
            as_json = _row_as_json if job == ONE else _rows_as_json
            await spread((task.kiq(as_json(argument)) for argument in arguments), _WIDTH)

        await broker.startup()
        try:
            yield send
        finally:
            await broker.shutdown()

    def work(self, url: str, database: Path) -> None:
        """See `Library.work`."""
        table = Table(database)

        async def insert_one(row: list[Any]) -> None:
            await table.insert(_row(row))

        async def insert_many(rows: list[list[Any]]) -> None:
            await table.insert_all([_row(row) for row in rows])

        broker = _broker(url)
        broker.register_task(insert_one, task_name=ONE)
        broker.register_task(insert_many, task_name=MANY)
        start_listen(WorkerArgs(broker=broker, modules=[], configure_logging=False, no_parse=True))


def _broker(url: str) -> Any:
    return RedisStreamBroker(url).with_serializer(ORJSONSerializer())


def _row_as_json(row: Row) -> list[Any]:
    return [row[0].hex(), *row[1:]]


def _rows_as_json(rows: list[Row]) -> list[list[Any]]:
    return [_row_as_json(row) for row in rows]


def _row(row: list[Any]) -> Row:
    return (bytes.fromhex(row[0]), row[1], row[2], row[3], row[4])
