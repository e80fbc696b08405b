"""LanceDB: a collection that was written one record at a time, beside one of the same records that was written at once.

python -m benchmarks.single_writes [--records 10000] [--dimension 384] [--queries 200]
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measuring import median, percentile, table
from benchmarks.recall import BATCH, COLLECTION, TOP_K, batches, made
from penstock.stores.lancedb import LanceStore
from penstock.wire.records import Embedding


def main() -> None:
    """Print the table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--records", type=int, default=10_000)
    arguments.add_argument("--dimension", type=int, default=384)
    arguments.add_argument("--queries", type=int, default=200)
    given = arguments.parse_args()
    vectors = made(given.records, given.dimension, given.queries)
    records = [record for batch in batches(vectors.stored) for record in batch]
    queries = [wanted.tobytes() for wanted in vectors.wanted]
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(compare(Path(folder), records, queries))


async def compare(folder: Path, records: Sequence[Embedding], queries: Sequence[bytes]) -> None:
    """Write both, tend both as upkeep does, and ask them in turns."""
    stores = {"one at a time": LanceStore(folder / "single"), f"{BATCH:,} at once": LanceStore(folder / "batches")}
    took: dict[str, float] = {}
    for (name, store), size in zip(stores.items(), (1, BATCH), strict=True):
        await store.setup()
        began = time.perf_counter()
        for at in range(0, len(records), size):
            await store.write(records[at : at + size])
        took[name] = time.perf_counter() - began
    rows: list[tuple[object, ...]] = []
    for moment in ("as written", "tended"):
        times = await ask(stores, queries)
        for name, store in stores.items():
            shape = await store.shape(COLLECTION)
            assert shape is not None
            assert shape.vectors == len(records)
            p50, p95 = median(times[name]), percentile(times[name], 0.95)
            rows.append(
                (name, moment, f"{took[name]:.0f}", shape.fragments, shape.versions, f"{p50:.1f}", f"{p95:.1f}")
            )
            await store.tend(COLLECTION, 0)
    table((f"{len(records):,} records", "", "written in s", "fragments", "versions", "p50 ms", "p95 ms"), rows)
    for store in stores.values():
        await store.close()


async def ask(stores: dict[str, LanceStore], queries: Sequence[bytes]) -> dict[str, list[float]]:
    """Milliseconds of each query in each store."""
    times: dict[str, list[float]] = {name: [] for name in stores}
    for query in queries:
        for name, store in stores.items():
            began = time.perf_counter()
            await store.search(COLLECTION, query, TOP_K)
            times[name].append((time.perf_counter() - began) * 1000)
    return times


if __name__ == "__main__":
    main()
