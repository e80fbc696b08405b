"""What a call costs the agent, and how fast one process fills the queue.

python -m benchmarks.call [--calls 100000] [--records 200000]
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable

import redis.asyncio

from benchmarks.measuring import CONTENT, median, percentile, system
from penstock.producer import Producer, ProducerSettings
from penstock.wire import building
from penstock.wire.frames import encode, frames_of
from penstock.wire.ids import RisingClock

CALLS_AT_ONCE = 1_000
FRAMES_AT_ONCE = 24


def main() -> None:
    """Print what the calls cost, and two rates of one run."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--calls", type=int, default=100_000, help="timed calls of each kind")
    arguments.add_argument("--records", type=int, default=200_000, help="records sent into the queue")
    given = arguments.parse_args()
    with system() as (_, environment):
        asyncio.run(measure(environment["PENSTOCK_REDIS_URL"], given.calls, given.records))


async def measure(url: str, calls: int, records: int) -> None:
    """Print the tables."""
    settings = ProducerSettings(
        redis_url=url, namespace="bench", buffer_records=10**7, buffer_bytes=2**33, backlog_records=10**8
    )
    async with Producer(settings=settings) as producer:
        print(f"| call ({len(CONTENT)} characters) | median, us | p99, us | p99.9, us |\n|---|---|---|---|")
        show("message()", await timed(calls, message_call(producer)))
        async with producer.stream(session_id="s", role="assistant") as stream:
            show("stream.write()", await timed(calls, lambda _: stream.write("token ")))
        await producer.flush()
        ours = await fill(producer, records)
    raw = await fill_raw(url, records)
    print("\n| into the queue, one process | records/s |\n|---|---|")
    print(f"| calls and sending | {ours:,.0f} |\n| ready frames, raw pipelined XADD | {raw:,.0f} |")
    print(f"| ratio | {ours / raw:.2f} |")


def message_call(producer: Producer) -> Callable[[int], object]:
    """A call that is given a number and spreads it over 50 sessions."""
    return lambda number: producer.message(session_id=f"session-{number % 50}", role="user", content=CONTENT)


async def timed(calls: int, call: Callable[[int], object]) -> list[float]:
    """Microseconds of each call. The sender has its turn between rounds, outside what is timed."""
    found = []
    for start in range(0, calls, CALLS_AT_ONCE):
        for number in range(start, start + CALLS_AT_ONCE):
            before = time.perf_counter()
            call(number)
            found.append((time.perf_counter() - before) * 1e6)
        await asyncio.sleep(0.001)
    return found


def show(what: str, found: list[float]) -> None:
    """Print one row."""
    print(f"| {what} | {median(found):.2f} | {percentile(found, 0.99):.2f} | {percentile(found, 0.999):.2f} |")


async def fill(producer: Producer, records: int) -> float:
    """Records a second from the first call until the queue has confirmed the last."""
    call = message_call(producer)
    before = time.perf_counter()
    for start in range(0, records, CALLS_AT_ONCE):
        for number in range(start, start + CALLS_AT_ONCE):
            call(number)
        await asyncio.sleep(0)
    await producer.flush()
    return records / (time.perf_counter() - before)


async def fill_raw(url: str, records: int) -> float:
    """The same records as frames made beforehand, appended with nothing around."""
    clock = RisingClock()
    built = (
        building.message(clock, session_id=f"session-{number % 50}", role="user", content=CONTENT)
        for number in range(records)
    )
    frames = frames_of(encode(record) for record in built)
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
