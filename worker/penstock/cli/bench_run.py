"""What `penstock bench` measures: Penstock in turns with the limits that it is compared with."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

from penstock.cli.bench_stores import CONTENT, SESSIONS, Place
from penstock.cli.exits import Code, Stop
from penstock.cli.options import environment
from penstock.cli.processes import WorkerProcess
from penstock.wire import building
from penstock.wire.frames import encode, frames_of
from penstock.wire.ids import RisingClock
from penstock.wire.keys import Partition
from penstock.wire.queue import Queue
from penstock.wire.tasks import end_task

if TYPE_CHECKING:
    from penstock.producer import Producer, ProducerSettings, Receipt

T = TypeVar("T")

CALLS = 2_000
"""Timed one by one, in each round."""

SAMPLES = 10
"""Messages that are sent alone and waited for, in each round."""

_CALLS_AT_ONCE = 200
_LEAD = 0.1
"""Of the records: drained before the clock starts, while the worker gets going."""
_TIMEOUT_S = 120.0
_LOOK_S = 0.005
_RAW_LOGS = 8
_RAW_FRAMES_AT_ONCE = 24


@dataclass(slots=True)
class Figures:
    """One value a round; of calls, of messages that were waited for and of round trips one each."""

    call_us: list[float] = field(default_factory=list)
    into: list[float] = field(default_factory=list)
    """Records a second from the calls into the queue."""
    into_limit: list[float] = field(default_factory=list)
    """The same records as frames made beforehand, appended by nothing but pipelined XADD."""
    drained: list[float] = field(default_factory=list)
    """Records a second that one worker moved from the queue into the store."""
    drained_limit: list[float] = field(default_factory=list)
    """The same rows by the driver alone."""
    stored_ms: list[float] = field(default_factory=list)
    """From the call to stored, while nothing else is going on."""
    round_trip_ms: list[float] = field(default_factory=list)
    """To the queue server and back."""


@contextlib.contextmanager
def own_namespace(url: str) -> Iterator[str]:
    """A namespace that nobody has. Every key of it is gone after the block, arq's too."""
    name = f"bench-{uuid4().hex[:12]}"
    try:
        yield name
    finally:
        _remove(url, name)


def _remove(url: str, name: str) -> None:
    from redis import Redis  # noqa: PLC0415 - see `app`

    with Redis.from_url(url) as client:
        for keys in _pieces(client.scan_iter(match=f"*{name}*", count=1_000)):
            client.unlink(*keys)


@dataclass(frozen=True, slots=True)
class Bench:
    """One run. Its settings are the user's, but for where everything goes."""

    settings: ProducerSettings
    place: Place
    folder: Path
    records: int
    batch: int
    """Rows of a transaction: the worker's."""

    def run(self, rounds: int, tell: Callable[[str], None]) -> Figures:
        """Measure. *tell* hears what is going on.

        Raises:
            Stop: The worker does not start, or does not store what it is given.
            QueueUnavailable, StoreUnavailable: As they say.
        """
        figures = Figures()
        for number in range(1, rounds + 1):
            tell(f"round {number} of {rounds} ...")
            with self.place.fresh() as url:
                figures.drained_limit.append(self.place.bare(url, self.records, self.batch))
            with self.place.fresh() as url:
                settled = asyncio.run(_ending_at_once(self._fill(figures)))
                given = environment(
                    self.settings.redis_url, self.settings.namespace, url, f"lancedb:///{self.folder}/vectors"
                )
                given["PENSTOCK_STRATEGY"] = self.settings.strategy
                with WorkerProcess(given, self.folder / "worker.log") as worker:
                    asyncio.run(_ending_at_once(self._drain(worker, settled, figures)))
        return figures

    @contextlib.asynccontextmanager
    async def _queue(self) -> AsyncIterator[Queue]:
        queue = Queue(self.settings.redis_url, self.settings.namespace)
        try:
            yield await queue.open(self.settings.partitions)
        finally:
            await queue.close()

    async def _fill(self, figures: Figures) -> int:
        """Into the queue, while no worker runs. Returns how many records were stored before."""
        from penstock.producer import Producer  # noqa: PLC0415 - see `app`

        async with self._queue() as queue:
            figures.into_limit.append(await self._raw(queue))
            figures.round_trip_ms += [await _round_trip_ms(queue) for _ in range(20)]
        async with Producer(settings=self.settings) as producer:
            figures.call_us += await self._calls(producer)
            began = time.perf_counter()
            for number in range(self.records):
                _hand_over(producer, number)
                if number % _CALLS_AT_ONCE == 0:
                    await producer.ready()
                    await asyncio.sleep(0)
            await producer.flush(timeout=_TIMEOUT_S)
            figures.into.append(self.records / (time.perf_counter() - began))
        async with self._queue() as queue:
            return await _stored(queue)

    async def _calls(self, producer: Producer) -> list[float]:
        """Microseconds of each call. The sender has its turn between them, outside what is timed."""
        found = []
        for number in range(CALLS):
            began = time.perf_counter()
            _hand_over(producer, number)
            found.append((time.perf_counter() - began) * 1e6)
            if number % _CALLS_AT_ONCE == 0:
                await asyncio.sleep(0.001)
        await producer.flush(timeout=_TIMEOUT_S)
        return found

    async def _raw(self, queue: Queue) -> float:
        clock = RisingClock()
        frames = frames_of(
            encode(building.message(clock, session_id=f"session-{n % SESSIONS}", role="user", content=CONTENT))
            for n in range(self.records)
        )
        logs = [f"{self.settings.namespace}:raw:{number}" for number in range(_RAW_LOGS)]
        with queue.scripts.translated():
            began = time.perf_counter()
            for piece in _pieces(iter(frames), _RAW_FRAMES_AT_ONCE):
                async with queue.client.pipeline(transaction=False) as pipe:
                    for log, frame in zip(logs * len(piece), piece, strict=False):
                        pipe.xadd(log, {"f": frame.body, "n": frame.records})
                    await pipe.execute()
            rate = self.records / (time.perf_counter() - began)
            await queue.client.unlink(*logs)
        return rate

    async def _drain(self, worker: WorkerProcess, settled: int, figures: Figures) -> None:
        """Out of the queue, and then one by one. *settled* records were stored before."""
        async with self._queue() as queue:
            await worker.wait_until_alive()
            began, everything = time.perf_counter(), settled + CALLS + self.records
            lead = await _until(queue, settled + CALLS + int(self.records * _LEAD))
            if lead < everything:  # a few thousand are stored in one go: of those the clock has the worker's start too
                began, settled = time.perf_counter(), lead
            await _until(queue, everything)
            figures.drained.append((everything - settled) / (time.perf_counter() - began))
        await self._one_by_one(figures)

    async def _one_by_one(self, figures: Figures) -> None:
        from penstock.producer import Producer  # noqa: PLC0415 - see `app`

        rng = random.Random(len(figures.stored_ms))  # noqa: S311 - pauses
        async with Producer(settings=self.settings) as producer:
            await _hand_over(producer, 0).stored(timeout=_TIMEOUT_S)  # finds the connections
            for number in range(SAMPLES):
                await asyncio.sleep(rng.uniform(0.25, 0.4))
                began = time.perf_counter()
                await _hand_over(producer, number).stored(timeout=_TIMEOUT_S)
                figures.stored_ms.append((time.perf_counter() - began) * 1000)


async def _ending_at_once(work: Coroutine[Any, Any, T]) -> T:
    """What *work* returns. It ends with the first Ctrl-C, of which redis-py may swallow the cancellation."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    finally:
        await end_task(task)


def _hand_over(producer: Producer, number: int) -> Receipt:
    return producer.message(session_id=f"session-{number % SESSIONS}", role="user", content=CONTENT)


async def _round_trip_ms(queue: Queue) -> float:
    began = time.perf_counter()
    with queue.scripts.translated():
        await queue.client.ping()
    return (time.perf_counter() - began) * 1000


async def _until(queue: Queue, records: int) -> int:
    """Wait until so many records are stored. Returns how many are: a commit settles thousands."""
    deadline = time.monotonic() + _TIMEOUT_S
    while (done := await _stored(queue)) < records:
        if time.monotonic() > deadline:
            raise Stop(f"the worker stored {done:,} of {records:,} records in {_TIMEOUT_S:.0f} s", Code.AWAY)
        await asyncio.sleep(_LOOK_S)
    return done


async def _stored(queue: Queue) -> int:
    """How many messages are stored, by the counters alone."""
    with queue.scripts.translated():
        async with queue.client.pipeline(transaction=False) as pipe:
            for number in range(queue.partitions):
                pipe.hget(queue.keys.meta(Partition("messages", number)), "stored")
            return sum(int(count or 0) for count in await pipe.execute())


def _pieces(values: Iterator[T], size: int = 1_000) -> Iterator[list[T]]:
    while piece := list(islice(values, size)):
        yield piece
