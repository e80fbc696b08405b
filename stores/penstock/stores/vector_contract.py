"""What a vector store is, beside what every store is (`contract`): vectors by collection and key, found by nearness.

`penstock.testing.conformance` holds one class that every backend passes unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from penstock.stores.contract import Store
from penstock.stores.metrics import Metric
from penstock.stores.rows import Hit, StoredVector
from penstock.wire.records import VectorRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorCapabilities:
    """What a vector backend can do, as data; the conformance class tests both directions."""

    shared: bool
    """Several processes may have the store open."""
    fenced: bool
    """`Fence` is checked in the write's own transaction."""
    metrics: tuple[Metric, ...]
    """Those that a query may ask for. The store's own is one of them."""
    exact_below: int | None = None
    """Vectors of a collection up to which every answer is exact. None: always."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How a collection lies in its backend. What the backend has no such thing as is None."""

    vectors: int
    tombstones: int
    """Deletions that are kept, so that nothing older comes back."""
    fragments: int | None = None
    """Pieces that a search visits one by one."""
    versions: int | None = None
    """States of the collection that are kept."""
    indexed: int | None = None
    """Vectors that an index covers; a search looks at each of the others."""


class VectorReading(Protocol):
    """What a vector backend answers. `penstock.query.Reader` is its main caller.

    A collection that does not exist holds nothing: `[]`, 0. All raise `StoreUnavailable`.
    """

    async def search(
        self,
        collection: str,
        vector: bytes,
        top_k: int,
        where: Mapping[str, Any] | None = None,
        metric: Metric | None = None,
    ) -> Sequence[Hit]:
        """The *top_k* vectors nearest to *vector* (float32 bytes) that match the filter *where*, best first, those of
        one score by id; which of these get the last places is open. Fewer only when fewer match.

        *metric* is the store's own where None is given: that of `?metric=` in its URL, else cosine. A vector of zeros
        has no direction: by cosine it is near nothing, and nothing is near it.

        Raises:
            FilterError: *where* is malformed or names an unknown operator.
            Unsupported: The backend has no such *metric*, or cannot answer what *where* asks.
            DimensionMismatch: *vector* has another length than the collection's.
            StoreRejected: *vector* is not finite.
        """
        ...

    async def vectors(self, collection: str, keys: Sequence[str]) -> Sequence[StoredVector]:
        """Those of *keys* that are there, each once, in any order."""
        ...

    async def count_vectors(self, collection: str) -> int:
        """How many vectors the collection holds."""
        ...

    async def collections(self) -> Sequence[str]:
        """The names of all collections, sorted. One whose vectors were all deleted is still there."""
        ...

    async def walk_vectors(self, collection: str, after: str | None, limit: int) -> Sequence[VectorRecord]:
        """At most *limit* records behind the key *after*, by key (code points), that make the collection anew.

        Every row: a vector as its `Embedding`, a tombstone as its `EmbeddingDeletion`.
        """
        ...


class VectorUpkeep(Protocol):
    """What a vector backend does in its own house. Two at once are harmless, though one does all the work."""

    async def shape(self, collection: str) -> Shape | None:
        """How the collection lies there; None when it does not exist."""
        ...

    async def is_due(self, collection: str) -> bool:
        """Whether `tend` is worth its while. Cheap."""
        ...

    async def tend(self, collection: str, tombstones_before_us: int) -> Mapping[str, int]:
        """Put the collection in order: remove tombstones of deletions before *tombstones_before_us*, join fragments,
        remove old versions, build or extend the index where it has outgrown a search without one.

        Returns what was done, as counts by name; empty when there was nothing to do, or no such collection. Reads and
        writes go on meanwhile, though a write may wait.

        Raises:
            StoreUnavailable: Some of it is done; it may be repeated.
        """
        ...


class VectorStore(Store, VectorReading, VectorUpkeep, Protocol):
    """A vector backend.

    `write` takes `Embedding` and `EmbeddingDeletion`; for one collection it is atomic, for several each part is.

    Of each key stays what was created last. A deletion that is newer than what is there takes its place as a tombstone,
    which keeps out what is older, also where the key is not there yet. Among equals of one batch the last one wins, of
    two batches the first. A deletion alone makes no collection: where there is none it counts 0, and nothing is kept.
    """

    @property
    def capabilities(self) -> VectorCapabilities:
        """What this one can do; a server's may be known only once it was asked, after `setup`."""
        ...

    async def drop(self, collection: str) -> bool:
        """Remove the collection with all its vectors and tombstones; False when there was none.

        A write under way is dropped with it or makes it anew, with the dimension of its first vector, and raises
        nothing but `StoreUnavailable`. When it returns, power loss does not bring the collection back.

        Raises:
            StoreUnavailable: It may be there still; may be repeated.
        """
        ...
