"""A process with a number of producers, which does what it is told on standard input: a JSON object a line.

python -m benchmarks.growth.senders PRODUCERS
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

from benchmarks.measuring import CONTENT
from penstock.producer import Producer
from penstock.producer.receipt import Receipt

SESSIONS = 1_000
TIMED = 10
"""One of so many records is timed until it is queued."""

_AT_ONCE = 100
_TICK_S = 0.002
_TIMEOUT_S = 120


class Order(NamedTuple):
    """What to send, shared among the producers."""

    records: int
    rate: float | None = None
    """Records a second; as fast as they are taken without one."""


async def _flat_out(producers: list[Producer], records: int) -> list[float]:
    for start in range(0, records, _AT_ONCE):
        producer = producers[start // _AT_ONCE % len(producers)]
        await producer.ready()
        for number in range(start, min(start + _AT_ONCE, records)):
            _message(producer, number)
        await asyncio.sleep(0)
    await _flushed(producers)
    return []


async def _paced(producers: list[Producer], records: int, rate: float) -> list[float]:
    """Milliseconds from the call until `queued()`, of some."""
    found: list[float] = []

    async def time_one(receipt: Receipt, began: float) -> None:
        await receipt.queued(timeout=_TIMEOUT_S)
        found.append((time.perf_counter() - began) * 1000)

    started = time.perf_counter()
    async with asyncio.TaskGroup() as waits:
        for number in range(records):
            began = time.perf_counter()
            receipt = _message(producers[number % len(producers)], number)
            if number % TIMED == 0:
                waits.create_task(time_one(receipt, began))
            if number >= (time.perf_counter() - started) * rate:
                await asyncio.sleep(_TICK_S)  # a clock tick's worth of records then follows at once
    await _flushed(producers)
    return found


def _message(producer: Producer, number: int) -> Receipt:
    return producer.message(session_id=f"session-{number % SESSIONS}", role="user", content=CONTENT)


async def _flushed(producers: list[Producer]) -> None:
    async with asyncio.TaskGroup() as flushes:
        for producer in producers:
            flushes.create_task(producer.flush(timeout=_TIMEOUT_S))


async def _obey(producers: int, tell: Callable[[object], None]) -> None:
    """Open the producers, then carry out one order after the other, until there are no more."""
    async with contextlib.AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(Producer.from_env(os.environ)) for _ in range(producers)]
        tell("ready")
        while line := await asyncio.to_thread(sys.stdin.readline):
            order = Order(*json.loads(line))
            if order.rate is None:
                tell(await _flat_out(opened, order.records))
            else:
                tell(await _paced(opened, order.records, order.rate))


def main() -> None:
    """Until standard input is closed."""
    asyncio.run(_obey(int(sys.argv[1]), lambda found: print(json.dumps(found), flush=True)))


if __name__ == "__main__":
    main()
