"""Vectors in this process's memory, searched by looking at every one. No numpy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from penstock.stores.contract import Fence, Partial, Trial
from penstock.stores.embeddings import (
    by_collection,
    check_query,
    dimension_after,
    embeddings_of,
    ranked,
    refuse_infinite,
    stored_vector,
    try_out,
)
from penstock.stores.filters import parse
from penstock.stores.metrics import METRICS, Metric, chosen_metric, own_metric, scorer, url_options
from penstock.stores.predicate import predicate
from penstock.stores.rows import Hit, StoredVector
from penstock.stores.vector_contract import Shape, VectorCapabilities
from penstock.wire.records import Embedding, EmbeddingDeletion, Record, VectorRecord
from penstock.wire.text import load_object


def open_vector(url: str) -> MemoryVectors:
    """An empty store that searches by the `?metric=` of *url*. Two of them share nothing, whatever their URLs."""
    return MemoryVectors(own_metric(url_options(url, "metric")))


@dataclass(slots=True)
class _Collection:
    dimension: int
    rows: dict[str, VectorRecord] = field(default_factory=dict)
    """By key; a deletion is its own tombstone."""

    def put(self, record: VectorRecord) -> bool:
        there = self.rows.get(record.key)
        if there is not None and there.created_at_us >= record.created_at_us:
            return False
        self.rows[record.key] = record
        return True

    def embeddings(self) -> Iterator[Embedding]:
        return (each for each in self.rows.values() if isinstance(each, Embedding))


class MemoryVectors:
    """Embeddings in a dict a collection. See `VectorStore`.

    No call gives way to another one, so a write is atomic, and a cancelled one either ended or did not start.
    """

    capabilities = VectorCapabilities(shared=False, fenced=False, metrics=METRICS)

    def __init__(self, metric: Metric = "cosine") -> None:
        self._metric = metric
        self._collections: dict[str, _Collection] = {}

    async def setup(self, *, migrate: bool = True) -> None:
        """Nothing to create."""

    async def write(self, records: Sequence[Record], fence: Fence | None = None) -> int:  # noqa: ARG002 - unfenced
        """See `Store.write`. The fence is not looked at."""
        parts = by_collection(records)
        dimensions = {name: dimension_after(name, self._dimension(name), part) for name, part in parts.items()}
        for part in parts.values():
            refuse_infinite(embeddings_of(part))
        return sum(self._put(name, dimensions[name], part) for name, part in parts.items())

    def _put(self, name: str, dimension: int | None, part: Sequence[VectorRecord]) -> int:
        if dimension is None:
            return 0
        collection = self._collections.setdefault(name, _Collection(dimension))
        return sum([collection.put(record) for record in part])

    def _dimension(self, name: str) -> int | None:
        return self._collections[name].dimension if name in self._collections else None

    async def rehearse(self, records: Sequence[Record]) -> Sequence[Trial]:
        """See `Store.rehearse`."""
        return try_out(
            records,
            {name: each.dimension for name, each in self._collections.items()},
            {
                (name, key): row.created_at_us
                for name, collection in self._collections.items()
                for key, row in collection.rows.items()
            },
            lambda embedding, _: refuse_infinite([embedding]),
        )

    async def partials(self, ids: Sequence[bytes]) -> Mapping[bytes, Partial]:  # noqa: ARG002 - there are none
        """See `Store.partials`."""
        return {}

    async def check(self) -> None:
        """Memory is always there."""

    async def close(self) -> None:
        """Nothing to let go of; the vectors stay as long as the store."""

    async def search(
        self,
        collection: str,
        vector: bytes,
        top_k: int,
        where: Mapping[str, Any] | None = None,
        metric: Metric | None = None,
    ) -> Sequence[Hit]:
        """See `VectorReading.search`."""
        holds = predicate(parse(where))
        chosen = chosen_metric(metric, self._metric, METRICS)
        found = self._collections.get(collection)
        if found is None or top_k < 1:
            return []
        check_query(collection, found.dimension, vector)
        score = scorer(chosen, vector)
        near = [
            Hit(id=each.key, score=value, text=each.text, metadata=metadata)
            for each in found.embeddings()
            if holds(metadata := load_object(each.metadata)) and (value := score(each.vector)) is not None
        ]
        return ranked(near, top_k)

    async def vectors(self, collection: str, keys: Sequence[str]) -> Sequence[StoredVector]:
        """See `VectorReading.vectors`."""
        rows = self._rows(collection)
        found = (rows.get(key) for key in dict.fromkeys(keys))
        return [stored_vector(each) for each in found if isinstance(each, Embedding)]

    async def count_vectors(self, collection: str) -> int:
        """See `VectorReading.count_vectors`."""
        return len(embeddings_of(self._rows(collection).values()))

    async def collections(self) -> Sequence[str]:
        """See `VectorReading.collections`."""
        return sorted(self._collections)

    async def walk_vectors(self, collection: str, after: str | None, limit: int) -> Sequence[VectorRecord]:
        """See `VectorReading.walk_vectors`."""
        rows = self._rows(collection).values()
        return sorted((each for each in rows if after is None or each.key > after), key=attrgetter("key"))[:limit]

    async def drop(self, collection: str) -> bool:
        """See `VectorStore.drop`."""
        return self._collections.pop(collection, None) is not None

    async def shape(self, collection: str) -> Shape | None:
        """See `VectorUpkeep.shape`."""
        if collection not in self._collections:
            return None
        vectors = await self.count_vectors(collection)
        return Shape(vectors=vectors, tombstones=len(self._rows(collection)) - vectors)

    async def is_due(self, collection: str) -> bool:
        """See `VectorUpkeep.is_due`. Whenever there are tombstones."""
        return any(isinstance(each, EmbeddingDeletion) for each in self._rows(collection).values())

    async def tend(self, collection: str, tombstones_before_us: int) -> Mapping[str, int]:
        """See `VectorUpkeep.tend`."""
        rows = self._rows(collection)
        old = [
            key
            for key, each in rows.items()
            if isinstance(each, EmbeddingDeletion) and each.created_at_us < tombstones_before_us
        ]
        for key in old:
            del rows[key]
        return {"tombstones": len(old)} if old else {}

    def _rows(self, collection: str) -> dict[str, VectorRecord]:
        found = self._collections.get(collection)
        return {} if found is None else found.rows
