"""What one worker moves into a store: a backlog, and from the call to stored. Common to the program of each store."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Literal, NamedTuple

from benchmarks.measuring import CONTENT, Watch, median, queue_server_pid, settle_disk, system, worker
from penstock.producer import Producer
from penstock.wire.keys import Partition
from penstock.wire.queue import Queue
from penstock.worker.settings import WorkerConfig

RECORDS = 200_000
SESSIONS = 200
BATCH = WorkerConfig().batch_records
"""Rows of one transaction of a bare driver: as many as a worker's."""

METADATA = {"model": "turbine-4", "tokens": 58, "tags": ["water", "power"], "finish": "stop", "cost": 0.00042}
METADATA_JSON = json.dumps(METADATA, separators=(",", ":"))

_LEAD = 0.1
"""Of a backlog: what is drained before the clock starts, while the worker gets going."""

_TIMEOUT_S = 300
_HANDED_OVER_AT_ONCE = 500
_LOOK_S = 0.02
"""Between two looks at the counters. One costs about a millisecond of a core, which the worker has need of."""


class Load(NamedTuple):
    """Records of one kind."""

    name: str
    lane: str
    hand_over: Callable[[Producer, int], object]
    """Hand over the record with that number."""


def _message(producer: Producer, number: int) -> object:
    return producer.message(session_id=f"session-{number % SESSIONS}", role="user", content=CONTENT)


def _message_with_metadata(producer: Producer, number: int) -> object:
    return producer.message(session_id=f"session-{number % SESSIONS}", role="user", content=CONTENT, metadata=METADATA)


def _log_event(producer: Producer, number: int) -> object:
    return producer.log(level="info", event="tool_called", message=CONTENT, agent_id=f"agent-{number % SESSIONS}")


MESSAGES = Load("messages", "messages", _message)
MESSAGES_WITH_METADATA = Load("messages with metadata", "messages", _message_with_metadata)
LOG_EVENTS = Load("log events", "logs", _log_event)


def own(text: str) -> str:
    """*text* in memory of its own. A bare driver is given rows as they come from a program, and no two share a text."""
    return text.encode().decode()


class Moved(NamedTuple):
    """How fast records came into a store, and what it took."""

    rate: float
    """Records a second."""
    worker_us: float
    """Microseconds of a core for each record, as are the next two."""
    server_us: float
    """Of the queue server."""
    producer_us: float = 0.0
    store_us: float = 0.0
    """Of a database server."""


def middle(moved: list[Moved]) -> Moved:
    """The median of each figure."""
    return Moved(*(median(column) for column in zip(*moved, strict=True)))


def backlog(load: Load, records: int, store_cpu_s: Callable[[], float] = lambda: 0.0, **settings: str) -> Moved:
    """What one worker drains of a queue that was filled before it started. *settings* are environment variables.

    *store_cpu_s* tells the seconds of a core that a database server has spent so far.
    """
    lead = int(records * _LEAD)
    with system(**settings) as (_, environment):
        asyncio.run(send(environment, lead + records, "queued", load))
        settle_disk()
        with worker(environment) as process:
            return asyncio.run(
                _watched(environment["PENSTOCK_REDIS_URL"], load.lane, (lead, lead + records), process.pid, store_cpu_s)
            )


def end_to_end(load: Load, records: int, **settings: str) -> Moved:
    """From the first call to the last record stored, with producer and worker at work at once."""
    settle_disk()
    with system(**settings) as (_, environment), worker(environment) as process:
        asyncio.run(send(environment, _HANDED_OVER_AT_ONCE, "stored", load))
        server = queue_server_pid(environment["PENSTOCK_REDIS_URL"])
        watches = Watch(), Watch(process.pid), Watch(server)
        asyncio.run(send(environment, records, "stored", load))
        ours, workers, servers = (watch.spent() for watch in watches)
    return Moved(ours.rate(records), workers.cpu_us(records), servers.cpu_us(records), ours.cpu_us(records))


async def send(
    environment: dict[str, str], records: int, until: Literal["queued", "stored"], load: Load = MESSAGES
) -> None:
    """Hand over *records* as fast as the producer takes them, and wait until they are `queued` or `stored`."""
    async with Producer.from_env(environment) as producer:
        for number in range(records):
            load.hand_over(producer, number)
            if number % _HANDED_OVER_AT_ONCE == 0:
                await producer.ready()
                await asyncio.sleep(0)
        await producer.flush(until=until, timeout=_TIMEOUT_S)


async def _watched(
    url: str, lane: str, span: tuple[int, int], worker_pid: int, store_cpu_s: Callable[[], float]
) -> Moved:
    """What happens from about the first to about the last of *span* records stored of *lane*."""
    first, last = span
    server_pid = queue_server_pid(url)
    async with Queue(url) as queue:
        begun = await _reached(queue, lane, first)
        watches, before_s = (Watch(worker_pid), Watch(server_pid)), store_cpu_s()
        records = await _reached(queue, lane, last) - begun
        workers, servers = (watch.spent() for watch in watches)
    store_us = (store_cpu_s() - before_s) / records * 1e6
    return Moved(workers.rate(records), workers.cpu_us(records), servers.cpu_us(records), store_us=store_us)


async def _reached(queue: Queue, lane: str, records: int) -> int:
    """Wait until so many records of *lane* are stored. Returns how many are: a commit settles thousands."""
    metas = [queue.keys.meta(Partition(lane, number)) for number in range(queue.partitions)]
    deadline = time.monotonic() + _TIMEOUT_S
    while True:
        async with queue.client.pipeline(transaction=False) as pipe:
            for meta in metas:
                pipe.hget(meta, "stored")
            done = sum(int(count or 0) for count in await pipe.execute())
        if done >= records:
            return done
        if time.monotonic() > deadline:
            raise TimeoutError(f"{done} of {records} records are stored after {_TIMEOUT_S} s")
        await asyncio.sleep(_LOOK_S)
