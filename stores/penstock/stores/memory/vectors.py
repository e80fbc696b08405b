"""Vectors in this process's memory, searched by looking at every one. No numpy."""

from __future__ import annotations

import array
import heapq
import math
import sys
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

from penstock.stores.contract import Capabilities, Fence, Partial, Trial
from penstock.stores.embeddings import by_collection, check_dimension, dimension_of, try_out
from penstock.stores.errors import StoreRejected
from penstock.stores.filters import parse
from penstock.stores.predicate import predicate
from penstock.stores.rows import Hit
from penstock.wire.records import Embedding, Record
from penstock.wire.text import load_object


def open_vector(url: str) -> MemoryVectors:  # noqa: ARG001 - every backend is opened by its URL
    """An empty store. Two of them share nothing, whatever their URLs."""
    return MemoryVectors()


class MemoryVectors:
    """Embeddings in a dict a collection. See `VectorStore`.

    No call gives way to another one, so a write is atomic, and a cancelled one either ended or did not start.
    """

    capabilities = Capabilities(shared=False, fenced=False)

    def __init__(self) -> None:
        self._collections: dict[str, dict[str, Embedding]] = {}

    async def setup(self, *, migrate: bool = True) -> None:
        """Nothing to create."""

    async def write(self, records: Sequence[Record], fence: Fence | None = None) -> int:  # noqa: ARG002 - unfenced
        """See `Store.write`. The fence is not looked at."""
        parts = by_collection(records)
        for collection, embeddings in parts.items():
            dimension = self._dimension(collection) or dimension_of(embeddings[0].vector)
            check_dimension(collection, dimension, (each.vector for each in embeddings))
            _check_finite(embeddings)
        return sum(self._put(embedding) for embeddings in parts.values() for embedding in embeddings)

    async def rehearse(self, records: Sequence[Record]) -> Sequence[Trial]:
        """See `Store.rehearse`."""
        rows = [(name, each) for name, stored in self._collections.items() for each in stored.values()]
        return try_out(
            records,
            {name: dimension_of(each.vector) for name, each in rows},
            {(name, each.key): each.created_at_us for name, each in rows},
            lambda embedding, _: _check_finite([embedding]),
        )

    async def partials(self, ids: Sequence[bytes]) -> Mapping[bytes, Partial]:  # noqa: ARG002 - there are none
        """See `Store.partials`."""
        return {}

    async def check(self) -> None:
        """Memory is always there."""

    async def close(self) -> None:
        """Nothing to let go of; the vectors stay as long as the store."""

    async def search(
        self, collection: str, vector: bytes, top_k: int, where: Mapping[str, Any] | None = None
    ) -> Sequence[Hit]:
        """See `VectorReading.search`."""
        holds = predicate(parse(where))
        if (dimension := self._dimension(collection)) is None:
            return []
        check_dimension(collection, dimension, [vector])
        found = (each for each in self._collections[collection].values() if holds(load_object(each.metadata)))
        return [_hit(score, each) for score, each in _nearest(vector, found, top_k)]

    async def count_vectors(self, collection: str) -> int:
        """See `VectorReading.count_vectors`."""
        return len(self._collections.get(collection, {}))

    async def collections(self) -> Sequence[str]:
        """See `VectorReading.collections`."""
        return sorted(self._collections)

    def _dimension(self, collection: str) -> int | None:
        for embedding in self._collections.get(collection, {}).values():
            return dimension_of(embedding.vector)
        return None

    def _put(self, embedding: Embedding) -> bool:
        stored = self._collections.setdefault(embedding.collection, {})
        there = stored.get(embedding.key)
        if there is not None and there.created_at_us >= embedding.created_at_us:
            return False
        stored[embedding.key] = embedding
        return True


def _nearest(vector: bytes, found: Any, top_k: int) -> list[tuple[float, Embedding]]:
    wanted = _unit(vector)
    scored = ((_dot(wanted, _unit(each.vector)), each) for each in found)
    # A vector without direction has no cosine: it is near nothing.
    return heapq.nlargest(top_k, ((score, each) for score, each in scored if score is not None), key=itemgetter(0))


def _hit(score: float, embedding: Embedding) -> Hit:
    return Hit(id=embedding.key, score=score, text=embedding.text, metadata=load_object(embedding.metadata))


def _check_finite(embeddings: Sequence[Embedding]) -> None:
    for each in embeddings:
        if not math.isfinite(sum(_floats(each.vector))):
            raise StoreRejected("embedding: every number of a vector must be finite")


def _floats(vector: bytes) -> array.array[float]:
    floats = array.array("f", vector)
    if sys.byteorder == "big":
        floats.byteswap()
    return floats


def _unit(vector: bytes) -> list[float] | None:
    """*vector* with length 1, in float64; None when it is all zeros."""
    floats = _floats(vector)
    length = math.hypot(*floats)
    return [each / length for each in floats] if length else None


def _dot(left: list[float] | None, right: list[float] | None) -> float | None:
    return math.fsum(map(float.__mul__, left, right)) if left and right else None
