"""Into LanceDB: what one worker moves, beside the bare driver, in one run.

python -m benchmarks.drain_lancedb [--runs 3]
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeAlias

import lancedb
import numpy as np

from benchmarks.draining import BATCH, Load, Moved, backlog, middle
from benchmarks.measuring import CONTENT, Watch, settle_disk, table
from penstock.producer import Producer
from penstock.stores.lancedb.columns import to_batch
from penstock.stores.lancedb.durability import sync_table
from penstock.wire import building
from penstock.wire.frames import encode
from penstock.wire.ids import RisingClock
from penstock.wire.records import Embedding
from penstock.worker.settings import WorkerConfig

Write: TypeAlias = Callable[[Any, Any], Awaitable[None]]
"""Puts a batch into a collection."""

_COLLECTION = "documents"
_RECORDS = {384: 50_000, 1536: 15_000}
"""How many embeddings of each dimension."""


def main() -> None:
    """Print the tables."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=int, default=3)
    given = arguments.parse_args()
    print(
        f"One collection, {len(CONTENT)} characters of text with each vector, medians of {given.runs} runs; synced to "
        f"disk after each batch everywhere, AOF everysec\n"
    )
    for dimension, records in _RECORDS.items():
        compare(dimension, records, given.runs)


def compare(dimension: int, records: int, runs: int) -> None:
    """Print the table of one dimension."""
    rows = rows_of_a_batch(dimension)
    ways = {
        f"bare `merge_insert` of ready batches, {rows:,} rows": partial(bare, merge, dimension, records, rows),
        "bare `add` of them, which stores a repeated key twice": partial(bare, add, dimension, records, rows),
        "a backlog, drained by one worker": partial(backlog, load_of(dimension), records),
    }
    found: dict[str, list[Moved]] = {way: [] for way in ways}
    for _ in range(runs):
        for way, move in ways.items():
            found[way].append(move())
    medians = {way: middle(moved) for way, moved in found.items()}
    limit = next(iter(medians.values())).rate
    table(
        (f"{records:,} vectors of {dimension}", "vectors/s", "against bare", "us of CPU a vector: writer", "queue"),
        [
            (
                way,
                f"{moved.rate:,.0f}",
                f"{moved.rate / limit:.2f}",
                f"{moved.worker_us:.2f}",
                f"{moved.server_us:.2f}" if moved.server_us else "",
            )
            for way, moved in medians.items()
        ],
    )


def load_of(dimension: int) -> Load:
    """Embeddings, as a producer is handed them."""

    def hand_over(producer: Producer, number: int) -> object:
        return producer.embedding(
            collection=_COLLECTION, id=f"chunk-{number}", vector=vector(dimension, number), text=CONTENT
        )

    return Load(f"embeddings of {dimension}", "embeddings", hand_over)


def rows_of_a_batch(dimension: int) -> int:
    """As many as a worker writes at once: its bound on bytes comes first."""
    return min(BATCH, WorkerConfig().batch_bytes // len(encode(embedding(RisingClock(), dimension, 0))))


async def merge(collection: Any, batch: Any) -> None:
    """What a program does that may have to repeat itself."""
    upsert = collection.merge_insert("id").when_matched_update_all(where="source.version > target.version")
    await upsert.when_not_matched_insert_all().execute(batch)


async def add(collection: Any, batch: Any) -> None:
    """What one does that never will."""
    await collection.add(batch)


def bare(write: Write, dimension: int, records: int, rows: int) -> Moved:
    """The same vectors by the driver alone: as batches of Arrow, ready in memory."""
    batches = list(ready(dimension, records, rows))
    with tempfile.TemporaryDirectory() as name:
        return asyncio.run(written(write, Path(name), batches, records))


async def written(write: Write, folder: Path, batches: list[Any], records: int) -> Moved:
    """What it takes to *write* all of *batches*, each on disk before the next."""
    connection = await lancedb.connect_async(folder, read_consistency_interval=timedelta(0))
    settle_disk()
    watch = Watch()
    collection = await connection.create_table(_COLLECTION, batches[0])
    sync_table(folder / f"{_COLLECTION}.lance")
    for batch in batches[1:]:
        await write(collection, batch)
        sync_table(folder / f"{_COLLECTION}.lance")
    spent = watch.spent()
    return Moved(spent.rate(records), spent.cpu_us(records), 0)


def ready(dimension: int, records: int, rows: int) -> Iterator[Any]:
    """All of them, in the columns of the store's own tables."""
    clock = RisingClock()
    for start in range(0, records, rows):
        numbers = range(start, min(start + rows, records))
        yield to_batch([embedding(clock, dimension, number) for number in numbers], dimension)


def embedding(clock: RisingClock, dimension: int, number: int) -> Embedding:
    """The one with that number."""
    return building.embedding(
        clock, collection=_COLLECTION, id=f"chunk-{number}", vector=vector(dimension, number), text=CONTENT
    )


def vector(dimension: int, number: int) -> Any:
    """One of a thousand that are ready: what they hold changes nothing."""
    return _vectors(dimension)[number % 1_000]


@cache
def _vectors(dimension: int) -> Any:
    return np.random.default_rng(dimension).standard_normal((1_000, dimension)).astype("<f4")


if __name__ == "__main__":
    main()
