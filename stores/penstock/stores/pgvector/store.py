"""The store of the vectors of one PostgreSQL database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from penstock.stores.contract import Fence, Partial, Trial
from penstock.stores.embeddings import (
    by_collection,
    check_query,
    embeddings_of,
    refuse_infinite,
    stored_vector,
    try_out,
)
from penstock.stores.errors import DimensionMismatch, StoreRejected
from penstock.stores.filters import parse as parse_filter
from penstock.stores.metrics import METRICS, Metric, chosen_metric, floats_of
from penstock.stores.pgvector import batch, schema
from penstock.stores.pgvector.catalog import Catalog, Collection, refuse_long
from penstock.stores.pgvector.database import Database, Session
from penstock.stores.pgvector.indexes import EXACT_BELOW
from penstock.stores.pgvector.searching import Search, hits, is_short, nearest, nearest_of_all
from penstock.stores.pgvector.settings import VectorSettings, parse
from penstock.stores.pgvector.upkeep import PgVectorUpkeep
from penstock.stores.postgres.translation import translated
from penstock.stores.rows import Hit, StoredVector
from penstock.stores.schemas import refuse_unfit
from penstock.stores.vector_contract import VectorCapabilities
from penstock.wire.records import Embedding, EmbeddingDeletion, Record, VectorRecord


def open_vector(url: str) -> PgVectorStore:
    """The store of the database that *url* names. Nothing is opened yet.

    Raises:
        BadStoreURL: An unknown option, or its value makes no sense.
    """
    return PgVectorStore(parse(url))


class PgVectorStore(PgVectorUpkeep):
    """Vectors in one database, a table for each collection. See `VectorStore`.

    A batch is atomic whatever collections it is of. Several writers of one collection are in nobody's way: the database
    compares versions.
    """

    def __init__(self, settings: VectorSettings, *, exact_below: int = EXACT_BELOW) -> None:
        self._metric = settings.metric
        self._exact_below = exact_below
        self._database = Database(settings)
        self._catalog = Catalog(self._database)
        self._builds = {}
        self.capabilities = VectorCapabilities(shared=True, fenced=True, metrics=METRICS, exact_below=exact_below)

    async def setup(self, *, migrate: bool = True) -> None:
        """See `Store.setup`. The database itself must be there."""
        with translated(self._where):
            if migrate:
                await schema.migrate(self._database.settings)
            else:
                refuse_unfit(await schema.found_version(self._database.settings), schema.MIGRATIONS)

    async def write(self, records: Sequence[Record], fence: Fence | None = None) -> int:
        """See `Store.write`."""
        parts = by_collection(records)
        for part in parts.values():
            batch.refuse_nul(embeddings_of(part))
        try:
            with translated(self._where):
                return await self._database.transact(lambda session: batch.apply(session, parts, fence))
        except StoreRejected:
            # The server looks at every number anyway, but says of what it refuses only that it does.
            for part in parts.values():
                refuse_infinite(embeddings_of(part))
            raise

    async def rehearse(self, records: Sequence[Record]) -> Sequence[Trial]:
        """See `Store.rehearse`. Holds nothing: what is written meanwhile is seen or not."""
        keys: dict[str, set[str]] = {}
        for record in records:
            with suppress(StoreRejected):  # told below
                for name, changes in by_collection([record]).items():
                    keys.setdefault(name, set()).update(each.key for each in changes)
        dimensions: dict[str, int] = {}
        versions: dict[tuple[str, str], int] = {}
        with translated(self._where):
            for name, wanted in keys.items():
                found = await self._catalog.find(name, fresh=True)
                if found is not None:
                    dimensions[name] = found.dimension
                    rows = await self._fetch("vector_versions", found, sorted(wanted))
                    versions |= {(name, key): version for key, version in rows}
        return try_out(records, dimensions, versions, _check)

    async def partials(self, ids: Sequence[bytes]) -> Mapping[bytes, Partial]:  # noqa: ARG002 - there are none
        """See `Store.partials`."""
        return {}

    async def check(self) -> None:
        """See `Store.check`."""
        with translated(self._where):
            await self._catalog.names()

    async def close(self) -> None:
        """See `Store.close`. An index under way is left half built, for the next `tend` to build anew."""
        with translated(self._where):
            await self._end_builds()
            await self._database.close()

    async def search(
        self,
        collection: str,
        vector: bytes,
        top_k: int,
        where: Mapping[str, Any] | None = None,
        metric: Metric | None = None,
    ) -> Sequence[Hit]:
        """See `VectorReading.search`. By the index where there is one, and exactly where that has too few."""
        search = Search(vector, top_k, parse_filter(where), chosen_metric(metric, self._metric, METRICS))

        async def ask(found: Collection) -> list[Hit]:
            check_query(collection, found.dimension, vector)
            return await self._nearest(collection, found, search)

        if top_k < 1:
            return []
        with translated(self._where):
            try:
                return await self._catalog.read(collection, ask, list[Hit])
            except DimensionMismatch:
                # Somebody else may have dropped it, and made it anew with another dimension.
                await self._catalog.find(collection, fresh=True)
                return await self._catalog.read(collection, ask, list[Hit])

    async def _nearest(self, name: str, found: Collection, search: Search) -> list[Hit]:
        if search.metric == "cosine" and not any(floats_of(search.vector)):
            return []

        async def by_index(session: Session) -> Sequence[Any]:
            sql, values = nearest(session.names, found, search)
            rows: Sequence[Any] = await session.connection.fetch(sql, *values)
            return rows

        async def exactly(session: Session) -> Sequence[Any]:
            sql, values = nearest_of_all(session.names, found, search)
            rows: Sequence[Any] = await session.connection.fetch(sql, *values)
            return rows

        rows = await self._database.ask_widely(search.ef_search, by_index)
        if is_short(rows, search) and await self._has_index(name, search.metric):
            rows = await self._database.ask_widely(search.ef_search, exactly)
        return hits(rows, search.metric)

    async def _has_index(self, name: str, metric: Metric) -> bool:
        found = await self._catalog.find(name, fresh=True)
        return found is not None and metric in found.indexes

    async def vectors(self, collection: str, keys: Sequence[str]) -> Sequence[StoredVector]:
        """See `VectorReading.vectors`."""
        with translated(self._where):
            rows = await self._catalog.read(
                collection, lambda found: self._fetch("vectors_of", found, sorted(set(keys))), list[Any]
            )
        return [stored_vector(_embedding(collection, row)) for row in rows]

    async def count_vectors(self, collection: str) -> int:
        """See `VectorReading.count_vectors`."""
        with translated(self._where):
            rows = await self._catalog.read(collection, lambda found: self._fetch("count_vectors", found), list[Any])
        return int(rows[0][0]) if rows else 0

    async def collections(self) -> Sequence[str]:
        """See `VectorReading.collections`."""
        with translated(self._where):
            return await self._catalog.names()

    async def walk_vectors(self, collection: str, after: str | None, limit: int) -> Sequence[VectorRecord]:
        """See `VectorReading.walk_vectors`."""
        with translated(self._where):
            rows = await self._catalog.read(
                collection, lambda found: self._fetch("walk_vectors", found, after, limit), list[Any]
            )
        return [_record(collection, row) for row in rows]

    async def drop(self, collection: str) -> bool:
        """See `VectorStore.drop`."""
        with translated(self._where):
            return await self._catalog.drop(collection)

    async def _fetch(self, statement: str, found: Collection, *values: Any) -> Sequence[Any]:
        return await self._database.ask(lambda session: session.fetch(statement, found.number, *values))


def _check(embedding: Embedding, dimension: int) -> None:
    batch.refuse_nul([embedding])
    refuse_infinite([embedding])
    refuse_long(embedding.collection, dimension)


def _record(collection: str, row: Any) -> VectorRecord:
    key, version, record_id, *_, vector = row
    if vector is None:
        return EmbeddingDeletion(record_id, version, collection, key)
    return _embedding(collection, row)


def _embedding(collection: str, row: Any) -> Embedding:
    key, version, record_id, normalised, text, metadata, vector = row
    return Embedding(record_id, version, collection, key, vector, text, metadata, normalised)
