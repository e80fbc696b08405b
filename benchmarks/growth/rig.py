"""A queue server, workers and a store: filled while the workers are held still, then drained."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import psutil
import redis

from benchmarks.growth.databases import Database
from benchmarks.measuring import CONTENT, Spent, Watch, median, stored, system
from penstock.producer import Producer
from penstock.wire.queue import Queue

Call = Callable[[Producer, int], object]
"""Hands over the record with that number."""

START_TIMEOUT_S = 60
DRAIN_TIMEOUT_S = 600
_STOP_TIMEOUT_S = 30
_HELD_MS = 600_000
_CALLS_AT_ONCE = 100
"""Before the producer is asked whether there is room: 10 MB where a record is large, of which it keeps 16 free."""


class Sent(NamedTuple):
    """How records came into the queue."""

    rate: float
    """Records a second, from the first call until the queue has confirmed the last."""
    producer_us: float
    """Microseconds of a core for each record, as are all that end so."""
    queue_us: float


class Drained(NamedTuple):
    """How they left it."""

    rate: float
    """Records a second, from the moment that the workers are let go until the last is stored."""
    worker_us: float
    queue_us: float
    store_us: float
    """Of the database's processes; 0 where it has none of its own."""


class Passed(NamedTuple):
    """Both."""

    sent: Sent
    drained: Drained


def middle(found: Sequence[Passed]) -> Passed:
    """The median of each figure."""
    sent = Sent(*map(median, zip(*(each.sent for each in found), strict=True)))
    return Passed(sent, Drained(*map(median, zip(*(each.drained for each in found), strict=True))))


def message(producer: Producer, number: int, sessions: int = 200) -> object:
    """One of 290 characters, in one of that many sessions."""
    return producer.message(session_id=f"session-{number % sessions}", role="user", content=CONTENT)


class Rig:
    """What records pass through, one backlog after the other."""

    def __init__(self, environment: dict[str, str], database: Database, workers: Sequence[psutil.Popen]) -> None:
        self.environment = environment
        self.url = environment["PENSTOCK_REDIS_URL"]
        self._database = database
        self._workers = workers
        self._stored = 0

    def begin(self) -> None:
        """Wait until all workers live and a record has found its way: everything is loaded, the store is set up."""
        asyncio.run(self._all_alive())
        self.send(message, 1)
        self._drain(1)

    def hold(self) -> None:
        """Let the workers stand still, and be counted as living for as long as a fill takes."""
        for process in self._workers:
            process.send_signal(signal.SIGSTOP)
        asyncio.run(self._keep_alive())

    def let_go(self) -> None:
        """Let them go on."""
        for process in self._workers:
            process.send_signal(signal.SIGCONT)

    def send(self, call: Call, records: int, first: int = 0) -> Sent:
        """Hand that many over, numbered from *first* on, as fast as they are taken."""
        watch, queue_s = Watch(), queue_cpu_s(self.url)
        asyncio.run(_send(self.environment, call, range(first, first + records)))
        spent = watch.spent()
        return Sent(spent.rate(records), spent.cpu_us(records), (queue_cpu_s(self.url) - queue_s) / records * 1e6)

    def drain(self, records: int) -> Drained:
        """Let the workers drain that many, all that there are."""
        os.sync()  # what the fill has left to write is nobody's here
        watch = Watch(*(process.pid for process in self._workers))
        queue_s, store_s = queue_cpu_s(self.url), self._database.cpu_s()
        spent = self._drain(records, watch)
        queue_s, store_s = queue_cpu_s(self.url) - queue_s, self._database.cpu_s() - store_s
        return Drained(spent.rate(records), spent.cpu_us(records), queue_s / records * 1e6, store_s / records * 1e6)

    def passes(self, call: Call, records: int, runs: int) -> Passed:
        """The medians of *runs* backlogs that are filled and drained."""
        found = []
        for run in range(runs):
            self.hold()
            sent = self.send(call, records, run * records)
            found.append(Passed(sent, self.drain(records)))
        return middle(found)

    def _drain(self, records: int, watch: Watch | None = None) -> Spent:
        self.let_go()
        self._stored += records
        watch = watch or Watch()
        asyncio.run(asyncio.wait_for(stored(self.url, self._stored), DRAIN_TIMEOUT_S))
        return watch.spent()

    async def _all_alive(self) -> None:
        async with asyncio.timeout(START_TIMEOUT_S), Queue(self.url) as queue:
            while len(await queue.workers()) < len(self._workers):
                if any(process.poll() is not None for process in self._workers):
                    raise RuntimeError("a worker has ended; try its command by hand: penstock worker")
                await asyncio.sleep(0.02)

    async def _keep_alive(self) -> None:
        async with Queue(self.url) as queue:
            for name in await queue.workers():
                await queue.heartbeat(name, _HELD_MS)


def queue_cpu_s(url: str) -> float:
    """Seconds of a core that a queue server has taken, by its own account, which is exact to the microsecond."""
    with redis.Redis.from_url(url) as client:
        found = client.info("cpu")
    return float(found["used_cpu_user"]) + float(found["used_cpu_sys"])


async def _send(environment: dict[str, str], call: Call, numbers: range) -> None:
    async with Producer.from_env(environment) as producer:
        for number in numbers:
            call(producer, number)
            if number % _CALLS_AT_ONCE == 0:
                await producer.ready()
                await asyncio.sleep(0)
        await producer.flush(timeout=DRAIN_TIMEOUT_S)


@contextlib.contextmanager
def rig(database: Database, sql_url: str, workers: int = 1) -> Iterator[Rig]:
    """A fresh queue server and workers that write to the store at *sql_url*."""
    with system(PENSTOCK_SQL_URL=sql_url) as (_, environment), _crew(environment, workers) as crew:
        made = Rig(environment, database, crew)
        made.begin()
        yield made


@contextlib.contextmanager
def _crew(environment: dict[str, str], workers: int) -> Iterator[list[psutil.Popen]]:
    """Worker processes, ended together."""
    command = [sys.executable, "-m", "penstock.cli", "worker"]
    quiet = subprocess.DEVNULL
    crew: list[psutil.Popen] = []
    try:
        crew += [psutil.Popen(command, env=environment, stdout=quiet, stderr=quiet) for _ in range(workers)]
        yield crew
    finally:
        for process in crew:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)
                process.terminate()
        psutil.wait_procs(crew, timeout=_STOP_TIMEOUT_S)
        for process in crew:
            if process.is_running():
                process.kill()
                process.wait()
