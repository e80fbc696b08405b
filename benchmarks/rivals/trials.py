"""One run of one contender. A figure counts only where every row is in the table, and none twice."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import subprocess
import time
from pathlib import Path
from typing import Any, NamedTuple, Self

import psutil
import redis

from benchmarks.measuring import Watch, queue_server_pid
from benchmarks.rivals.contenders import Contender, Place, place

_WARM_UP = 32
_BEGINNING = 0.1
"""Of a backlog: what is drained before the clock starts, while the worker gets going."""
_TIMEOUT_S = 120
_LOOK_S = 0.005


class Filled(NamedTuple):
    """What it took to put records into the queue."""

    rate: float
    """Records a second."""
    producer_us: float
    """Microseconds of a core for each record."""
    server_us: float
    """The same of the queue server."""
    memory_bytes: float
    """What the queue server keeps of each record."""


class Moved(NamedTuple):
    """What it took to bring records into the table."""

    rate: float
    """Records a second."""
    cpu_us: float
    """Microseconds of a core for each record, of all the processes."""


class Survived(NamedTuple):
    """What a worker that was killed left to the next one."""

    before: int
    """Rows that were there when it was killed."""
    missing: int
    twice: int
    after_s: float | None
    """From the kill until all rows were there."""


def fill_and_drain(contender: Contender, records: int) -> tuple[Filled, Moved]:
    """Fill the queue, then start a worker."""
    with place() as where, Rows(where.database) as rows:
        filled = asyncio.run(_fill(contender, where, records))
        with contender.worker(where) as process:
            asyncio.run(rows.reached(_lead(contender) + int(records * _BEGINNING)))
            begun, watch = rows.seen(), Watch(*_family(process), queue_server_pid(where.url))
            asyncio.run(rows.reached(_lead(contender) + records))
            spent = watch.spent()
        rows.require(_lead(contender) + records)
    drained = _lead(contender) + records - begun
    return filled, Moved(spent.rate(drained), spent.cpu_us(drained))


def end_to_end(contender: Contender, records: int) -> Moved:
    """From the first record that is made to the last row that is committed, producer and worker at once."""
    with place() as where, Rows(where.database) as rows, contender.worker(where) as process:
        lead = _lead(contender)

        async def send() -> Moved:
            async with contender.sending(where) as send:
                await send(lead)
                await rows.reached(lead)
                watch = Watch(os.getpid(), *_family(process), queue_server_pid(where.url))
                await send(records)
                await rows.reached(lead + records)
                spent = watch.spent()
            return Moved(spent.rate(records), spent.cpu_us(records))

        moved = asyncio.run(send())
        rows.require(lead + records)
    return moved


def kill(contender: Contender, records: int, patience_s: float) -> Survived:
    """Fill the queue, kill the worker with SIGKILL when it has stored a quarter, and let another go on."""
    all_of_them = _lead(contender) + records
    with place() as where, Rows(where.database) as rows:
        asyncio.run(_fill(contender, where, records))
        with contender.worker(where) as process:
            asyncio.run(rows.reached(records // 4))
            for pid in reversed(_family(process)):
                psutil.Process(pid).kill()
            process.wait()
        before, killed = rows.seen(), time.monotonic()
        with contender.worker(where):
            try:
                asyncio.run(rows.reached(all_of_them, patience_s))
                after_s = time.monotonic() - killed
            except TimeoutError:
                after_s = None
        count, different = rows.count()
    return Survived(before, all_of_them - different, count - different, after_s)


class Rows:
    """The rows that are in the table, seen from outside."""

    def __init__(self, database: Path) -> None:
        self._connection = sqlite3.connect(database, isolation_level=None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def seen(self) -> int:
        """How many have come, without counting them."""
        (last,) = self._connection.execute("SELECT coalesce(max(rowid), 0) FROM messages").fetchone()
        return int(last)

    async def reached(self, records: int, timeout_s: float = _TIMEOUT_S) -> None:
        """Wait until so many have come.

        Raises:
            TimeoutError: They did not.
        """
        deadline = time.monotonic() + timeout_s
        while (seen := self.seen()) < records:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{seen} of {records} rows are there after {timeout_s} s")
            await asyncio.sleep(_LOOK_S)

    def count(self) -> tuple[int, int]:
        """All, and those with different ids."""
        count, different = self._connection.execute("SELECT count(*), count(DISTINCT id) FROM messages").fetchone()
        return int(count), int(different)

    def require(self, records: int) -> None:
        """Make sure that there are so many, and none twice."""
        count, different = self.count()
        assert count == different == records, f"{count} rows, {different} different ones, of {records} records"


async def _fill(contender: Contender, where: Place, records: int) -> Filled:
    """Warm up, connect anew, and fill: what connections and scripts take is not counted."""
    async with contender.sending(where) as send:
        await send(_lead(contender))
    with redis.Redis.from_url(where.url) as client:
        memory = _dataset(client)
        async with contender.sending(where) as send:
            begun = time.perf_counter(), time.process_time(), _server_s(client)
            await send(records)
            ended = time.perf_counter(), time.process_time(), _server_s(client)
        wall_s, own_s, server_s = (after - before for before, after in zip(begun, ended, strict=True))
        return Filled(
            records / wall_s,
            own_s / records * 1e6,
            server_s / records * 1e6,
            (_dataset(client) - memory) / records,
        )


def _lead(contender: Contender) -> int:
    """Records that go ahead of those that are measured."""
    return max(_WARM_UP, contender.at_once)


def _server_s(client: redis.Redis) -> float:
    """Processor time of the queue server, finer than in clock ticks."""
    used: Any = client.info("cpu")
    return float(used["used_cpu_user"]) + float(used["used_cpu_sys"])


def _dataset(client: redis.Redis) -> int:
    """Bytes of the queue server's data; buffers of connections are none."""
    memory: Any = client.info("memory")
    return int(memory["used_memory_dataset"])


def _family(process: subprocess.Popen[bytes]) -> list[int]:
    """A process and those it started, itself first."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return [process.pid, *(child.pid for child in psutil.Process(process.pid).children(recursive=True))]
    return []
