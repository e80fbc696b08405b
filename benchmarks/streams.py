"""Streams of chunks into SQLite: many open at once, each one row at the end.

A *chunk* is one call of `stream.write()`. A *record* is what of it goes into the queue: the producer joins the chunks
of one stream that fall into one linger window. Both extremes are measured: chunks written as fast as one process can,
and chunks that never meet another one of their stream, each a record.

python -m benchmarks.streams [--streams 1000] [--chunks 500] [--runs 3]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sqlite3
import time
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from benchmarks.measuring import Watch, median, queue_memory, queue_server_pid, stored, system, table, worker
from penstock.producer import Producer
from penstock.wire.queue import Queue

TEXT = "a token "  # with 8 characters about as long as one of a model's


class Filled(NamedTuple):
    """What a producer has sent."""

    seconds: float
    records: int


class Run(NamedTuple):
    """One run's figures, in chunks a second, microseconds of a core a chunk, and bytes."""

    queued_rate: float
    records: float
    queue_bytes: float
    merged_rate: float
    merged_cpu_us: float
    whole_rate: float


def main() -> None:
    """Print the table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--streams", type=int, default=1000)
    arguments.add_argument("--chunks", type=int, default=500, help="of each stream")
    arguments.add_argument("--runs", type=int, default=3)
    given = arguments.parse_args()
    runs = defaultdict(list)
    for _ in range(given.runs):
        for is_alone in (False, True):
            runs[is_alone].append(run(given.streams, given.chunks, is_alone=is_alone))
    print(
        f"{given.streams:,} streams open at once, {given.chunks} chunks of {len(TEXT)} characters each; one worker.\n"
    )
    show(given.streams, given.chunks, runs)


def run(streams: int, chunks: int, *, is_alone: bool) -> Run:
    """All streams into the queue, then out of it; then, in a new system, both at once."""
    total = streams * chunks
    with system() as (folder, environment):
        url = environment["PENSTOCK_REDIS_URL"]
        empty = queue_memory(url)
        filled = asyncio.run(fill(environment, streams, chunks, is_alone=is_alone))
        held = queue_memory(url) - empty
        with worker(environment) as process:
            seconds, cpu_s = drained(url, process.pid, filled.records)
        check(folder, streams, chunks)
    whole_s = end_to_end(streams, chunks, is_alone=is_alone)
    return Run(total / filled.seconds, filled.records, held, total / seconds, cpu_s / total * 1e6, total / whole_s)


def drained(url: str, worker_pid: int, records: int) -> tuple[float, float]:
    """Seconds, and processor seconds of worker and queue server, from the first record that is settled to the last."""
    asyncio.run(begun(url))
    watch = Watch(worker_pid, queue_server_pid(url))
    asyncio.run(stored(url, records))
    return watch.spent()


async def begun(url: str) -> None:
    """Wait until a worker has the lease of a partition."""
    async with Queue(url) as queue:
        while not any(counts.leased for counts in (await queue.counts()).values()):  # noqa: ASYNC110 - in another process
            await asyncio.sleep(0.005)


def end_to_end(streams: int, chunks: int, *, is_alone: bool) -> float:
    """Seconds from the first chunk to the last row, a producer and a worker at once."""
    with system() as (folder, environment), worker(environment):
        url = environment["PENSTOCK_REDIS_URL"]
        asyncio.run(stored(url, asyncio.run(fill(environment, 1, 1, is_alone=False)).records))
        started = time.perf_counter()
        filled = asyncio.run(fill(environment, streams, chunks, is_alone=is_alone))
        asyncio.run(stored(url, filled.records))  # of both
        seconds = time.perf_counter() - started
        check(folder, streams, chunks, others=1)
    return seconds


def show(streams: int, chunks: int, runs: dict[bool, list[Run]]) -> None:
    """Print medians."""
    total, rows = streams * chunks, []
    for is_alone, found in runs.items():
        middle = Run(*map(median, zip(*found, strict=True)))
        rows.append(
            [
                "one a linger window" if is_alone else "as fast as written",
                f"{total / middle.records:.1f}",
                f"{middle.queued_rate:,.0f}",
                f"{middle.merged_rate:,.0f}",
                f"{middle.merged_cpu_us:.1f}",
                f"{middle.whole_rate:,.0f}",
                f"{streams:,}",
                f"{middle.queue_bytes / 2**20:.0f} MiB",
                f"{total * len(TEXT) / 2**20:.0f} MiB",
            ]
        )
    table(
        (
            "chunks come",
            "chunks a record",
            "into the queue, chunks/s",
            "merged and stored, chunks/s",
            "CPU of worker and queue, us a chunk",
            "end to end, chunks/s",
            "rows",
            "queue memory at the peak",
            "text",
        ),
        rows,
    )


async def fill(environment: dict[str, str], streams: int, chunks: int, *, is_alone: bool) -> Filled:
    """Write every stream, a chunk of each in turn. *is_alone*: the next one when the queue has the one before."""
    async with Producer.from_env(environment) as producer:
        await producer.flush()
        started = time.perf_counter()
        async with contextlib.AsyncExitStack() as stack:
            writers = [
                (await stack.enter_async_context(producer.stream(session_id=f"s{number}", role="assistant"))).write
                for number in range(streams)
            ]
            for _ in range(chunks):
                for write in writers:
                    write(TEXT)
                if is_alone:
                    await producer.flush()
                else:
                    await producer.ready()
                    await asyncio.sleep(0)
        await producer.flush()
        seconds = time.perf_counter() - started
    async with Queue(environment["PENSTOCK_REDIS_URL"]) as queue:
        return Filled(seconds, sum(counts.accepted for counts in (await queue.counts()).values()))


def check(folder: Path, streams: int, chunks: int, others: int = 0) -> None:
    """Make sure that there is one row a stream, whole."""
    with contextlib.closing(sqlite3.connect(folder / "penstock.db")) as connection:
        found = connection.execute(
            "SELECT count(*), sum(content = ? AND state IS NULL) FROM messages", (TEXT * chunks,)
        )
        rows, whole = found.fetchone()
    assert (rows, whole) == (streams + others, streams), (rows, whole)


if __name__ == "__main__":
    main()
