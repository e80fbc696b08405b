"""What each durability level costs: records a second into the queue, and how long `queued()` takes.

The rate is that of sending, which waits for no confirmation.

python -m benchmarks.durability [--records 200000] [--waits 10]
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.enqueue import CALLS_AT_ONCE, hand_over_messages
from benchmarks.measuring import median, percentile
from penstock.embedded import EmbeddedQueue
from penstock.producer import Producer, ProducerSettings
from penstock.wire.levels import LEVELS, Durability
from penstock.wire.queue import Queue

SYNCING = ("everysec", "always")
ROUNDS = 2


class Price(NamedTuple):
    """What one level came to."""

    rate: float
    """Records a second from the first call until the server has the last; confirmations go on beside."""
    waits_ms: list[float]
    """From a call to its `queued()`, one at a time."""


async def measure(url: str, durability: Durability, namespace: str, records: int, waits: int) -> Price:
    """The price of a level on that server."""
    settings = ProducerSettings(
        redis_url=url,
        namespace=namespace,
        durability=durability,
        buffer_records=10**7,
        buffer_bytes=2**33,
        backlog_records=10**8,
    )
    async with Producer(settings=settings) as producer:
        await producer.message(session_id="warm", role="user", content="up").queued(timeout=30)
        rate = await filled(producer, url, namespace, records)
        found = []
        for number in range(waits):
            before = time.perf_counter()
            await producer.message(session_id=f"s{number}", role="user", content="hello").queued(timeout=30)
            found.append((time.perf_counter() - before) * 1000)
    return Price(rate, found)


async def filled(producer: Producer, url: str, namespace: str, records: int) -> float:
    """Records a second; the one that was sent before does not count."""
    async with Queue(url, namespace) as queue:
        before = time.perf_counter()
        for _ in range(0, records, CALLS_AT_ONCE):
            hand_over_messages(producer)
            await asyncio.sleep(0)
        while sum(one.accepted for one in (await queue.counts()).values()) <= records:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
        rate = records / (time.perf_counter() - before)
    await producer.flush()
    return rate


async def rounds(url: str, records: int, waits: int) -> dict[Durability, Price]:
    """Each level's best rate of some, taken in turns: what else the machine does would look like a price."""
    found: dict[Durability, list[Price]] = {level: [] for level in LEVELS}
    for number in range(ROUNDS):
        for level, prices in found.items():
            prices.append(await measure(url, level, f"{level}-{number}", records, waits))
    return {
        level: Price(max(one.rate for one in prices), [wait for one in prices for wait in one.waits_ms])
        for level, prices in found.items()
    }


def follow(replica: EmbeddedQueue, server: EmbeddedQueue) -> None:
    """Make a replica of *server*, and wait until it is one."""
    with replica.client() as one, server.client() as other:
        other.config_set("repl-diskless-sync-delay", 0)
        one.replicaof("127.0.0.1", server.port)
        while one.info("replication")["master_link_status"] != "up":
            time.sleep(0.05)


def main() -> None:
    """Print a row for each way of syncing and each level."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--records", type=int, default=200_000, help="records sent into the queue")
    arguments.add_argument("--waits", type=int, default=10, help="calls that are waited for, one by one")
    given = arguments.parse_args()
    print(f"{given.records:,} messages of 290 characters; queue server, its replica and the producer on one machine\n")
    print(
        "| appendfsync | level | records/s | against fast | queued() p50, ms | longest, ms |\n|---|---|---|---|---|---|"
    )
    for appendfsync in SYNCING:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            with (
                EmbeddedQueue(folder / "one", appendfsync=appendfsync) as server,
                EmbeddedQueue(folder / "two", appendfsync=appendfsync) as replica,
            ):
                follow(replica, server)
                prices = asyncio.run(rounds(server.url, given.records, given.waits))
            for level, price in prices.items():
                ratio = price.rate / prices["fast"].rate
                waits = f"{median(price.waits_ms):,.1f} | {percentile(price.waits_ms, 1):,.1f}"
                print(f"| {appendfsync} | {level} | {price.rate:,.0f} | {ratio:.2f} | {waits} |")


if __name__ == "__main__":
    main()
