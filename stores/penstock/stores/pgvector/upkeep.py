"""What the store does in its own house: old tombstones go, and a collection that has grown large gets its index."""

from __future__ import annotations

import asyncio
from abc import ABC
from collections.abc import Mapping
from functools import partial

from penstock.stores.errors import StoreUnavailable
from penstock.stores.metrics import Metric
from penstock.stores.pgvector import indexing
from penstock.stores.pgvector.catalog import Catalog, Collection
from penstock.stores.pgvector.database import Database, Session
from penstock.stores.pgvector.indexes import METADATA, indexed_as
from penstock.stores.postgres.translation import translated
from penstock.stores.vector_contract import Shape
from penstock.wire.logs import logger

_LOGGER = "penstock.stores"

_SLICE = 5_000
"""Tombstones of one transaction."""


class PgVectorUpkeep(ABC):
    """See `VectorUpkeep`."""

    _database: Database
    _catalog: Catalog
    _metric: Metric
    _exact_below: int
    _builds: dict[int, asyncio.Task[int]]
    """Those under way in this process, by the number of their collection."""

    async def shape(self, collection: str) -> Shape | None:
        """See `VectorUpkeep.shape`. Reads the whole collection."""
        with translated(self._where):
            return await self._catalog.read(collection, self._shape, lambda: None)

    async def is_due(self, collection: str) -> bool:
        """See `VectorUpkeep.is_due`."""
        with translated(self._where):
            return await self._catalog.read(collection, self._is_due, lambda: False)

    async def tend(self, collection: str, tombstones_before_us: int) -> Mapping[str, int]:
        """See `VectorUpkeep.tend`. The index of a metric that the URL does not name any more stays.

        A cancelled call leaves an index under way, which may take longer than a job has; `close` ends it.
        """
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
        is_indexed = {self._metric, METADATA} <= collection.indexes
        if is_indexed or collection.number in self._builds or indexed_as(collection.dimension) is None:
            return False
        limit = self._exact_below
        return bool(
            await self._database.ask(
                lambda session: session.fetchval("has_more_vectors_than", collection.number, limit)
            )
        )

    async def _tend(self, name: str, before_us: int, collection: Collection) -> dict[str, int]:
        done = {"tombstones": await self._remove_tombstones(collection, before_us)}
        if await self._lacks_index(collection):
            done["indexes"] = await self._build(collection)
            await self._catalog.find(name, fresh=True)
        return {what: count for what, count in done.items() if count}

    async def _build(self, collection: Collection) -> int:
        if collection.number in self._builds:  # begun since the caller looked
            return 0
        task = asyncio.create_task(self._build_indexes(collection))
        self._builds[collection.number] = task
        task.add_done_callback(lambda _: self._builds.pop(collection.number))
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            task.add_done_callback(partial(_log_failure, collection.number))
            raise
        if task.cancelled():
            raise StoreUnavailable(f"{self._where}: the store was closed while it built an index")
        return task.result()

    async def _build_indexes(self, collection: Collection) -> int:
        vectors = await self._database.ask(lambda session: session.fetchval("count_vectors", collection.number))
        return await indexing.build(self._database, collection, self._metric, vectors)

    async def _end_builds(self) -> None:
        while self._builds:
            for task in self._builds.values():
                task.cancel()
            await asyncio.wait(self._builds.values())

    async def _remove_tombstones(self, collection: Collection, before_us: int) -> int:
        async def work(session: Session) -> int:
            sql = session.names.of("remove_vector_tombstones", collection.number)
            told: str = await session.connection.execute(sql, before_us, _SLICE)
            return int(told.rpartition(" ")[2])  # "DELETE 5"

        removed = 0
        while found := await self._database.transact(work):
            removed += found
        return removed


def _log_failure(number: int, task: asyncio.Task[int]) -> None:
    """A build whose caller was cancelled has failed; the next call of `tend` begins it anew."""
    if not task.cancelled() and (error := task.exception()) is not None:
        logger(_LOGGER).warning("index_build_failed", table=f"vectors_{number}", reason=type(error).__name__)
