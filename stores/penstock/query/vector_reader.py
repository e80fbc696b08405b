"""The reader's questions about vectors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from penstock.embedding.cache import VectorCache
from penstock.query.filters import checked_values
from penstock.query.page import MAX_LIMIT, InvalidQuery, checked_limit
from penstock.stores.metrics import Metric
from penstock.stores.rows import Hit, StoredVector
from penstock.stores.vector_contract import VectorReading
from penstock.wire.building import collection_name, vector_bytes
from penstock.wire.text import clean_text


class VectorReader(ABC):
    """What `Reader` answers about vectors. A collection that does not exist (yet) holds nothing."""

    @abstractmethod
    async def _vector_store(self) -> VectorReading:
        """The store that is asked. Raises `InvalidQuery` where there is none."""

    @abstractmethod
    def _embeddings(self) -> VectorCache:
        """What makes vectors of texts. Raises `InvalidQuery` where there is nothing."""

    async def search(
        self,
        collection: str,
        *,
        vector: Any = None,
        text: str | None = None,
        top_k: int = 10,
        where: Mapping[str, Any] | None = None,
        metric: Metric | None = None,
    ) -> list[Hit]:
        """The *top_k* vectors nearest to *vector*, or to that of *text*, that match the filter *where*, best first.

        *vector* is a sequence of numbers, a one-dimensional numpy array, or float32 bytes. Of *text* it is made by the
        reader's embedder, which has to be the one that made the collection's vectors. *metric* is `cosine`, `dot`
        or `l2`, and the store's own where None is given; a score is higher for what is nearer, so by `l2` it is minus
        the Euclidean distance.

        Raises:
            FilterError: *where* is malformed.
            Unsupported: The store has no such *metric*.
            DimensionMismatch: *vector* has another length than the collection's.
            EmbedderUnavailable, EmbedderRejected: *text* has no vector (now).
        """
        if (vector is None) == (text is None):
            raise InvalidQuery("search: either vector= or text= is needed")
        with checked_values():
            name = collection_name(collection)
            wanted = vector_bytes(vector) if text is None else b""
        if text is not None:
            (wanted,) = await self._embeddings().vectors_of([text])
        store = await self._vector_store()
        return list(await store.search(name, wanted, checked_limit(top_k, "top_k"), where, metric))

    async def vectors(self, collection: str, ids: Sequence[str]) -> list[StoredVector | None]:
        """The vectors under *ids*, in their order; None where an id has none (yet)."""
        if isinstance(ids, str) or len(ids) > MAX_LIMIT:
            raise InvalidQuery(f"ids: a list of at most {MAX_LIMIT:,} ids is needed")
        with checked_values():
            name, wanted = collection_name(collection), [clean_text("ids", each) for each in ids]
        found = {each.id: each for each in await (await self._vector_store()).vectors(name, wanted)}
        return [found.get(each) for each in wanted]

    async def count_vectors(self, collection: str) -> int:
        """How many vectors the collection holds."""
        with checked_values():
            name = collection_name(collection)
        return await (await self._vector_store()).count_vectors(name)

    async def collections(self) -> list[str]:
        """The names of all collections, sorted."""
        return list(await (await self._vector_store()).collections())
