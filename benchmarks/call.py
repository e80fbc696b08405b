"""What a call costs the agent, and how fast one process fills the queue.

Self-contained: starts an embedded queue server. `python -m benchmarks.call`
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import redis.asyncio

from penstock.embedded import EmbeddedQueue
from penstock.producer import Producer, ProducerSettings
from penstock.wire import building
from penstock.wire.frames import encode, frames_of
from penstock.wire.ids import RisingClock

CONTENT = "x" * 300
CALLS_AT_ONCE = 1_000
FRAMES_AT_ONCE = 24
ROOMY = {"buffer_records": 10_000_000, "buffer_bytes": 2**33, "backlog_records": 10_000_000}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=100_000, help="timed calls of each kind (default 100,000)")
    parser.add_argument("--records", type=int, default=200_000, help="records sent into the queue (default 200,000)")
    given = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory() as folder, EmbeddedQueue(Path(folder)) as server:
        asyncio.run(_measure(server.url, given.calls, given.records))


async def _measure(url: str, calls: int, records: int) -> None:
    settings = ProducerSettings(redis_url=url, namespace="bench", **ROOMY)  # type: ignore[arg-type] # numbers all
    async with Producer(settings=settings) as producer:
        _show("message()", await _time(calls, _message_call(producer)))
        async with producer.stream(session_id="s", role="assistant") as stream:
            _show("stream.write()", await _time(calls, lambda _: stream.write("token ")))
        await producer.flush()
        ours = await _fill(producer, records)
    raw = await _fill_raw(url, records)
    print(f"into the queue     {ours:10,.0f} records/s, calls and sending in one process")
    print(f"raw pipelined XADD {raw:10,.0f} records/s of ready frames; ratio {ours / raw:.2f}")


def _message_call(producer: Producer) -> Callable[[int], object]:
    return lambda number: producer.message(session_id=f"session-{number % 50}", role="user", content=CONTENT)


async def _time(calls: int, call: Callable[[int], object]) -> list[float]:
    """Seconds of each call. The sender gets its turn between rounds, outside what is timed."""
    times = []
    for start in range(0, calls, CALLS_AT_ONCE):
        for number in range(start, start + CALLS_AT_ONCE):
            before = time.perf_counter()
            call(number)
            times.append(time.perf_counter() - before)
        await asyncio.sleep(0.001)
    return times


def _show(what: str, times: list[float]) -> None:
    cuts = statistics.quantiles(times, n=1000)
    print(f"{what:18} median {cuts[499] * 1e6:6.2f} us, p99 {cuts[989] * 1e6:6.2f} us, p99.9 {cuts[998] * 1e6:7.2f} us")


async def _fill(producer: Producer, records: int) -> float:
    call = _message_call(producer)
    before = time.perf_counter()
    for start in range(0, records, CALLS_AT_ONCE):
        for number in range(start, start + CALLS_AT_ONCE):
            call(number)
        await asyncio.sleep(0)
    await producer.flush()
    return records / (time.perf_counter() - before)


async def _fill_raw(url: str, records: int) -> float:
    clock = RisingClock()
    packed = (
        encode(building.message(clock, session_id=f"session-{number % 50}", role="user", content=CONTENT))
        for number in range(records)
    )
    frames = frames_of(packed)
    async with redis.asyncio.Redis.from_url(url, protocol=2) as client:
        before = time.perf_counter()
        for start in range(0, len(frames), FRAMES_AT_ONCE):
            async with client.pipeline(transaction=False) as pipe:
                for number, frame in enumerate(frames[start : start + FRAMES_AT_ONCE]):
                    pipe.xadd(f"raw:{number % 8}", {"f": frame.body, "n": frame.records})
                await pipe.execute()
        return records / (time.perf_counter() - before)


if __name__ == "__main__":
    main()
