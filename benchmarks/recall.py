"""Vector stores: how many of the nearest a search finds by an index, and how long it takes, beside the bare driver.

python -m benchmarks.recall [URL ...] [--vectors 100000] [--dimension 384] [--queries 100]

Without a URL: LanceDB in a temporary folder. What is found is held against all vectors looked at with numpy.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.bare_vectors import bare_search
from benchmarks.measuring import median, percentile, table
from penstock.stores.registry import vector_store
from penstock.stores.vector_contract import VectorStore
from penstock.wire.ids import id_from_key
from penstock.wire.records import Embedding

COLLECTION = "documents"
TOP_K = 10
BATCH = 2_000
TENTH = {"tenth": {"$eq": 0}}
"""A filter that one vector in ten passes."""

_CLUSTERS = 500
_INNER = 32
"""Numbers that a vector follows from, but for some noise: models' vectors fill few of their dimensions."""

Search = Callable[[bytes], Awaitable[Sequence[str]]]


class Vectors(NamedTuple):
    """What is stored and what is searched for, of one distribution: `(n, dimension)` float32."""

    stored: Any
    wanted: Any


def main() -> None:
    """Print a table for each store."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("url", nargs="*", help="of a store that has no collection called documents, or an old one")
    arguments.add_argument("--vectors", type=int, default=100_000)
    arguments.add_argument("--dimension", type=int, default=384)
    arguments.add_argument("--queries", type=int, default=100)
    given = arguments.parse_args()
    vectors = made(given.vectors, given.dimension, given.queries)
    print(
        f"{given.vectors:,} vectors of {given.dimension} in {_CLUSTERS} clusters that overlap, {given.queries} queries "
        f"that are none of them, by cosine\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        for url in given.url or [f"lancedb:///{Path(folder) / 'vectors'}"]:
            asyncio.run(measure(url, vectors))


def made(count: int, dimension: int, queries: int) -> Vectors:
    """Vectors in clusters, as those of texts are; among uniform noise "nearest" would mean little."""
    rng = np.random.default_rng(1)
    total = count + queries
    inner = rng.normal(size=(_CLUSTERS, _INNER))[rng.integers(0, _CLUSTERS, total)]
    inner += 0.8 * rng.normal(size=(total, _INNER))
    outer = inner @ rng.normal(size=(_INNER, dimension)) + 0.3 * rng.normal(size=(total, dimension))
    found = outer.astype("<f4")
    return Vectors(found[:count], found[count:])


async def measure(url: str, vectors: Vectors) -> None:
    """Print what becomes of *vectors* in the store at *url*."""
    store = vector_store(url)
    await store.setup()
    await store.drop(COLLECTION)
    began = time.perf_counter()
    for batch in batches(vectors.stored):
        await store.write(batch)
    written_s = time.perf_counter() - began
    began = time.perf_counter()
    while await store.is_due(COLLECTION):
        await store.tend(COLLECTION, 0)
    tended_s = time.perf_counter() - began
    shape = await store.shape(COLLECTION)
    indexed = "" if shape is None or shape.indexed is None else f", {shape.indexed:,} indexed"
    print(f"{url.partition(':')[0]}: written in {written_s:.1f} s, index and order in {tended_s:.1f} s{indexed}\n")
    await compare(url, store, vectors)
    await store.drop(COLLECTION)
    await store.close()


async def compare(url: str, store: VectorStore, vectors: Vectors) -> None:
    """Print recall and times of the store, and of the driver in turns with it."""
    ways: dict[str, tuple[Search, bool]] = {
        "the store": (_searching(store), False),
        "the store, of a tenth by a filter": (_searching(store, TENTH), True),
    }
    async with bare_search(url, COLLECTION, TOP_K) as bare:
        if bare is not None:
            ways["the bare driver"] = bare, False
        found: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
        for wanted in vectors.wanted:
            for way, (search, is_filtered) in ways.items():
                began = time.perf_counter()
                ids = await search(wanted.tobytes())
                took_ms = (time.perf_counter() - began) * 1000
                found[way].append((took_ms, _hit_rate(ids, vectors.stored, wanted, is_filtered=is_filtered)))
    table(
        ("by", f"recall@{TOP_K}", "lowest", "p50 ms", "p95 ms"),
        [
            (
                way,
                f"{sum(rate for _, rate in each) / len(each):.3f}",
                f"{min(rate for _, rate in each):.1f}",
                f"{median([ms for ms, _ in each]):.1f}",
                f"{percentile([ms for ms, _ in each], 0.95):.1f}",
            )
            for way, each in found.items()
        ],
    )


def _searching(store: VectorStore, where: dict[str, Any] | None = None) -> Search:
    async def search(vector: bytes) -> list[str]:
        return [hit.id for hit in await store.search(COLLECTION, vector, TOP_K, where, "cosine")]

    return search


def _hit_rate(ids: Sequence[str], stored: Any, wanted: Any, *, is_filtered: bool) -> float:
    """The part of the nearest that are among *ids*."""
    step = 10 if is_filtered else 1
    rows = stored[::step]
    near = (rows @ wanted) / np.linalg.norm(rows, axis=1)
    nearest = {f"k{row * step}" for row in np.argpartition(-near, TOP_K)[:TOP_K]}
    return len(nearest.intersection(ids)) / TOP_K


def batches(stored: Any) -> Iterator[list[Embedding]]:
    """The vectors as records, with a text and a little metadata each."""
    for at in range(0, len(stored), BATCH):
        yield [
            Embedding(
                id_from_key(f"k{number}"),
                number + 1,
                COLLECTION,
                f"k{number}",
                vector.tobytes(),
                f"text {number}",
                b'{"tenth":%d}' % (number % 10),
            )
            for number, vector in enumerate(stored[at : at + BATCH], at)
        ]


if __name__ == "__main__":
    main()
