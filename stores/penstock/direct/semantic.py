"""Texts that are found by what they are about: a vector store and an embedder, without a queue or in front of one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from penstock.direct.block import SharedBlock
from penstock.embedding import Embedder, open_embedder
from penstock.embedding.store import EmbeddingStore
from penstock.query import Reader
from penstock.stores.registry import vector_store
from penstock.stores.rows import Hit
from penstock.stores.vector_contract import VectorStore
from penstock.wire import building
from penstock.wire.errors import InvalidRecord
from penstock.wire.ids import RisingClock
from penstock.wire.records import Record

_AT_ONCE = 1_000
"""Texts of one write."""


class Sends(Protocol):
    """Of a producer, what write-behind takes."""

    def embedding(self, *, collection: str, id: str, text: str, metadata: Mapping[str, Any] | None) -> Any:  # noqa: A002
        """Hand over a text."""
        ...

    def delete_embedding(self, *, collection: str, id: str) -> Any:  # noqa: A002
        """Hand over the deletion of one."""
        ...


def open_semantic(
    url: str, embedder: Embedder | str, *, key: str | None = None, producer: Sends | None = None
) -> SemanticStore:
    """The texts in the vector store at *url*, for `async with`. *embedder* is one, or what `open_embedder` takes.

        async with open_semantic("lancedb:///./vectors", "sentence-transformers:all-MiniLM-L6-v2") as notes:
            await notes.add("diary", [("mon", "It rained."), ("tue", "The pump broke.")])
            hits = await notes.search("diary", "weather", top_k=1)

    With a *producer* `add` and `delete` hand over and return at once: a worker with the same embedder stores them.

    Raises:
        BadStoreURL: No backend has the URL's scheme, its driver is missing, or its options make no sense.
        InvalidSetting: There is no such embedder.
    """
    made = open_embedder(embedder, key) if isinstance(embedder, str) else embedder
    return SemanticStore(vector_store(url), made, producer)


class SemanticStore(SharedBlock):
    """Texts by table and id. A text under an id that is there replaces it.

    Direct calls are durable when they return, and raise `StoreUnavailable` (may be repeated), `StoreRejected`,
    `EmbedderUnavailable` or `EmbedderRejected`; and `InvalidRecord` for what no store takes.
    """

    def __init__(self, vectors: VectorStore, embedder: Embedder, producer: Sends | None = None) -> None:
        self._vectors = vectors
        self._store = EmbeddingStore(vectors, embedder)
        self._reader = Reader.open(vectors=vectors, embedder=embedder)
        self._clock = RisingClock()
        self._producer = producer

    async def open(self) -> None:
        """Make what the store lacks. May be repeated."""
        await self._store.setup()

    async def close(self) -> None:
        """Let go of store and embedder. May be repeated."""
        await self._store.close()

    async def add(
        self, table: str, texts: Iterable[tuple[str, str]], *, metadata: Mapping[str, Any] | None = None
    ) -> None:
        """Keep *texts*, pairs of id and text, in *table*, each with *metadata*, which a search can filter by.

        Written in pieces of 1,000: after an error the pieces before are stored, and the call may be repeated.
        """
        if self._producer is not None:
            for key, text in texts:
                self._producer.embedding(collection=table, id=key, text=text, metadata=metadata)
            return
        await self._write(
            building.embedding(self._clock, collection=table, id=key, text=text, metadata=metadata)
            for key, text in texts
        )

    async def search(
        self, table: str, text: str, *, top_k: int = 10, where: Mapping[str, Any] | None = None
    ) -> list[Hit]:
        """The *top_k* texts of *table* nearest to *text* that match the filter *where*, best first: id, score, text.

        A table that does not exist holds nothing.
        """
        return await self._reader.search(table, text=text, top_k=top_k, where=where)

    async def delete(self, table: str, ids: Sequence[str]) -> None:
        """Delete the texts under *ids*. An id that is not there is no error."""
        if isinstance(ids, str):  # its letters would be deleted, and it would not
            raise InvalidRecord("ids", ids, "a list of ids is needed")
        if self._producer is not None:
            for key in ids:
                self._producer.delete_embedding(collection=table, id=key)
            return
        await self._write(building.embedding_deletion(self._clock, collection=table, id=key) for key in ids)

    async def delete_table(self, table: str) -> bool:
        """Remove the table with all its texts; False when there was none. Never behind a queue: what is on its way
        there makes the table anew."""
        return await self._vectors.drop(building.collection_name(table))

    async def _write(self, records: Iterable[Record]) -> None:
        made = list(records)  # all are checked before the first is written
        for at in range(0, len(made), _AT_ONCE):
            await self._store.write(made[at : at + _AT_ONCE])
