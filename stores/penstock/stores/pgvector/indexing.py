"""Indexes of a collection, built while it is read and written."""

from __future__ import annotations

from contextlib import suppress

import asyncpg

from penstock.stores.metrics import Metric
from penstock.stores.pgvector.catalog import Collection
from penstock.stores.pgvector.database import Database, Session
from penstock.stores.pgvector.indexes import METADATA, METRIC_SQL, index_name, indexed_as

_BUILD_S = 24 * 3600.0
"""For what takes seconds for 100,000 vectors and hours for many millions."""

_MAX_MEMORY_KB = 2**20
_ROW_OVERHEAD_BYTES = 600
"""What the graph of an index has of each vector beside its numbers. Measured: 195 MB for 100,000 of 384 numbers are
2 KB for each."""


async def build(database: Database, collection: Collection, metric: Metric, vectors: int) -> int:
    """Build what *collection* lacks of the index of *metric* and the one of its metadata. Returns how many were built.

    Writers go on, but behind a pooler of transactions, where they wait. Of two at once the second does nothing. What a
    crash has left half built is built anew.
    """
    async with database.apart() as session:
        if not database.keeps_sessions:
            async with session.connection.transaction():
                return await _build(session, collection, metric, vectors, concurrently=False)
        return await _build(session, collection, metric, vectors, concurrently=True)


async def _build(session: Session, collection: Collection, metric: Metric, vectors: int, *, concurrently: bool) -> int:
    connection, names = session
    lock = "take_index_lock" if concurrently else "take_index_lock_for_transaction"
    if not await connection.fetchval(names.sql(lock), collection.number):
        return 0
    kilobytes = vectors * (4 * collection.dimension + _ROW_OVERHEAD_BYTES) // 1024
    await connection.execute(names.sql("make_room_for_index"), min(kilobytes, _MAX_MEMORY_KB), not concurrently)
    built = 0
    for subject in (METADATA, metric):
        built += await _build_one(session, collection, subject, concurrently=concurrently)
    if built:
        await connection.execute(names.of("analyse", collection.number), timeout=_BUILD_S)
    return built


async def _build_one(session: Session, collection: Collection, subject: str, *, concurrently: bool) -> bool:
    connection, names = session
    index = index_name(collection.number, subject)
    is_valid = await connection.fetchval(names.sql("is_index_valid"), f"{names.home}{index}")
    if is_valid:
        return False
    parts = {"concurrently": "CONCURRENTLY " if concurrently else "", "index": index}
    if is_valid is False:
        await connection.execute(names.sql("drop_index", **parts), timeout=_BUILD_S)
    sql = _statement(session, collection, subject, parts)
    if not concurrently:
        await connection.execute(sql, timeout=_BUILD_S)
        return True
    with suppress(asyncpg.DiskFullError):
        await connection.execute(sql, timeout=_BUILD_S)
        return True
    await connection.execute(names.sql("drop_index", **parts), timeout=_BUILD_S)
    await connection.execute(names.sql("build_alone"))
    await connection.execute(sql, timeout=_BUILD_S)
    return True


def _statement(session: Session, collection: Collection, subject: str, parts: dict[str, str]) -> str:
    table = session.names.table(collection.number)
    if subject == METADATA:
        return session.names.sql("index_metadata", table=table, **parts)
    form = "index_vectors_by_half" if indexed_as(collection.dimension) == "halves" else "index_vectors"
    operators = next(each.operators for name, each in METRIC_SQL.items() if name == subject)
    return session.names.sql(form, table=table, operators=operators, dimension=str(collection.dimension), **parts)
