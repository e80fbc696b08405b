"""A queue server that is away for two minutes: what a producer with a spool loses, and how fast it catches up.

python -m benchmarks.outage_queue [--seconds 120] [--rate 2000]
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measuring import CONTENT
from penstock.embedded import EmbeddedQueue, free_port
from penstock.producer import Producer, ProducerSettings
from penstock.producer.spool_folder import Spooled, SpoolFolder
from penstock.wire.entries import Counts
from penstock.wire.frames import decode_frame
from penstock.wire.queue import Queue
from penstock.wire.records import Message

SESSIONS = 50
TICK_S = 0.01
CALLS_AT_ONCE = 1_000


@dataclass
class Load:
    """Messages at a steady rate, and what it is like to hand them over."""

    producer: Producer
    rate: int
    sent: int = 0
    longest_call_s: float = 0
    longest_stall_s: float = 0
    """How much later than asked for the loop came back."""

    async def run(self, done: asyncio.Event) -> None:
        """Send until *done*."""
        began, before = time.perf_counter(), self.sent
        while not done.is_set():
            while self.sent - before < (time.perf_counter() - began) * self.rate:
                self._call()
            asleep = time.perf_counter()
            await asyncio.sleep(TICK_S)
            self.longest_stall_s = max(self.longest_stall_s, time.perf_counter() - asleep - TICK_S)

    def _call(self) -> None:
        before = time.perf_counter()
        session = f"session-{self.sent % SESSIONS}"
        self.producer.message(session_id=session, role="user", content=f"{self.sent // SESSIONS} {CONTENT}")
        self.longest_call_s = max(self.longest_call_s, time.perf_counter() - before)
        self.sent += 1


@dataclass
class Outage:
    """What one outage was like."""

    load: Load
    spooled: int
    spooled_bytes: int
    rate: float
    """Records a second out of the spool, while new ones were handed over."""


async def with_outage(server: EmbeddedQueue, settings: ProducerSettings, rate: int, seconds: float) -> Outage:
    """Send for a while, take the server away while sending goes on, bring it back, and wait for an empty spool."""
    async with Producer(settings=settings) as producer:
        load, done = Load(producer, rate), asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(load.run(done))
            await asyncio.sleep(1)
            await asyncio.to_thread(server.kill)
            await asyncio.sleep(seconds)
            held = await waiting(settings)
            await asyncio.to_thread(server.start)
            await fallen(settings, held.records - 1)
            began = time.perf_counter()
            await fallen(settings, 0)
            took_s = time.perf_counter() - began
            done.set()
        await producer.flush()
    return Outage(load, held.records, held.size, held.records / took_s)


async def waiting(settings: ProducerSettings) -> Spooled:
    """What lies in the spool."""
    return await asyncio.to_thread(SpoolFolder(Path(settings.spool_dir), settings.namespace).spooled)


async def fallen(settings: ProducerSettings, records: int) -> None:
    """Wait until no more than that many records lie in the spool."""
    while (await waiting(settings)).records > records:  # noqa: ASYNC110 - another thread's work, seen on the disk
        await asyncio.sleep(TICK_S)


async def without_outage(settings: ProducerSettings, records: int) -> float:
    """Records a second into the queue when nothing is in the way: as many, handed over as fast as it takes them."""
    async with Producer(settings=settings) as producer:
        load, before = Load(producer, 0), time.perf_counter()
        for _ in range(0, records, CALLS_AT_ONCE):
            await producer.ready()
            for _ in range(CALLS_AT_ONCE):
                load._call()  # noqa: SLF001 - ours
        await producer.flush()
        return load.sent / (time.perf_counter() - before)


async def faults(url: str, sent: int) -> dict[str, int]:
    """What is missing, twice or out of order in the queue, read frame by frame."""
    found: defaultdict[str, list[int]] = defaultdict(list)
    async with Queue(url) as queue:
        for where in queue.all_partitions():
            after = "0-0"
            while entries := await queue.read(where, 200, after):
                after = entries[-1].id
                for record in (record for entry in entries for record in decode_frame(entry.frame)):
                    if isinstance(record, Message):
                        found[record.session_id].append(int((record.content or "").partition(" ")[0]))
        accepted = sum((await queue.counts()).values(), Counts()).accepted
    every = sum(map(len, found.values()))
    different = sum(len(set(numbers)) for numbers in found.values())
    disorder = sum(a > b for numbers in found.values() for a, b in itertools.pairwise(numbers))
    return {
        "missing": sent - different,
        "twice": every - different,
        "out of order": disorder,
        "counted wrongly": abs(accepted - every),
    }


def measure(rate: int, seconds: float) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = EmbeddedQueue(folder / "queue", free_port())
        settings = ProducerSettings(redis_url=server.url, spool_dir=f"{folder}/spool", backlog_records=10**8)
        with server:
            outage = asyncio.run(with_outage(server, settings, rate, seconds))
            wrong = asyncio.run(faults(server.url, outage.load.sent))
        normal_server = EmbeddedQueue(folder / "normal", free_port())
        normal = ProducerSettings(redis_url=normal_server.url, backlog_records=10**8)
        with normal_server:
            normal_rate = asyncio.run(without_outage(normal, outage.spooled))
    load = outage.load
    rows = {
        "messages handed over": f"{load.sent:,}",
        "in the spool when the queue was back": f"{outage.spooled:,} ({outage.spooled_bytes / 1e6:.0f} MB)",
        "longest call": f"{load.longest_call_s * 1000:.1f} ms",
        "longest time that the loop was held up": f"{load.longest_stall_s * 1000:.0f} ms",
        "out of the spool, records/s": f"{outage.rate:,.0f}",
        "into the queue without an outage, records/s": f"{normal_rate:,.0f}",
        "ratio": f"{outage.rate / normal_rate:.2f}",
        **{what: f"{count:,}" for what, count in wrong.items()},
        "dropped": f"{sum(load.producer.dropped.values()):,}",
    }
    print(f"{rate:,} messages of {len(CONTENT)} characters a second, the queue away for {seconds:g} s\n")
    print("| | |\n|---|---|")
    for what, figure in rows.items():
        print(f"| {what} | {figure} |")
    if any(wrong.values()):
        raise SystemExit("the outage lost, doubled or reordered messages")


def main() -> None:
    """Read the command line."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=float, default=120, help="how long the queue is away")
    arguments.add_argument("--rate", type=int, default=2_000, help="messages a second")
    given = arguments.parse_args()
    measure(given.rate, given.seconds)


if __name__ == "__main__":
    main()
