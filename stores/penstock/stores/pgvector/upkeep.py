"""What the store does in its own house: old tombstones go, and a collection that has grown large gets its index."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from functools import partial

from penstock.stores.metrics import Metric
from penstock.stores.pgvector import indexing
from penstock.stores.pgvector.catalog import Catalog, Collection
from penstock.stores.pgvector.database import Database, Session
from penstock.stores.pgvector.indexes import METADATA, indexed_as
from penstock.stores.postgres.translation import translated
from penstock.stores.vector_contract import Shape

_SLICE = 5_000
"""Tombstones of one transaction."""


class PgVectorUpkeep(ABC):
    """See `VectorUpkeep`."""

    _database: Database
    _catalog: Catalog
    _metric: Metric
    _exact_below: int

    async def shape(self, collection: str) -> Shape | None:
        """See `VectorUpkeep.shape`. Reads the whole collection."""
        with translated(self._where):
            return await self._catalog.read(collection, self._shape, lambda: None)

    async def is_due(self, collection: str) -> bool:
        """See `VectorUpkeep.is_due`."""
        with translated(self._where):
            return await self._catalog.read(collection, self._is_due, lambda: False)

    async def tend(self, collection: str, tombstones_before_us: int) -> Mapping[str, int]:
        """See `VectorUpkeep.tend`. The index of a metric that the URL does not name any more stays."""
        with translated(self._where):
            return await self._catalog.read(
                collection, partial(self._tend, collection, tombstones_before_us), dict[str, int]
            )

    @property
    def _where(self) -> str:
        return self._database.settings.server.where

    async def _shape(self, collection: Collection) -> Shape:
        row = await self._database.ask(lambda session: session.fetch("vector_shape", collection.number))
        vectors, tombstones = row[0]
        indexed = vectors if self._metric in collection.indexes else 0
        return Shape(vectors=vectors, tombstones=tombstones, indexed=indexed)

    async def _is_due(self, collection: Collection) -> bool:
        if await self._lacks_index(collection):
            return True
        return bool(await self._database.ask(lambda session: session.fetchval("has_tombstones", collection.number)))

    async def _lacks_index(self, collection: Collection) -> bool:
        if indexed_as(collection.dimension) is None or {self._metric, METADATA} <= collection.indexes:
            return False
        limit = self._exact_below
        return bool(
            await self._database.ask(lambda session: session.fetchval("has_more_vectors_than", collection.number, limit))
        )

    async def _tend(self, name: str, before_us: int, collection: Collection) -> dict[str, int]:
        done = {"tombstones": await self._remove_tombstones(collection, before_us)}
        if await self._lacks_index(collection):
            vectors = await self._database.ask(lambda session: session.fetchval("count_vectors", collection.number))
            done["indexes"] = await indexing.build(self._database, collection, self._metric, vectors)
            await self._catalog.find(name, fresh=True)
        return {what: count for what, count in done.items() if count}

    async def _remove_tombstones(self, collection: Collection, before_us: int) -> int:
        async def work(session: Session) -> int:
            sql = session.names.of("remove_vector_tombstones", collection.number)
            told: str = await session.connection.execute(sql, before_us, _SLICE)
            return int(told.rpartition(" ")[2])  # "DELETE 5"

        removed = 0
        while found := await self._database.transact(work):
            removed += found
        return removed
