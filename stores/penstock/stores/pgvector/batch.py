"""One batch of vectors and deletions in an open transaction."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any

from penstock.stores.contract import Fence
from penstock.stores.embeddings import FLOAT_BYTES, dimension_after
from penstock.stores.errors import StaleOwner, StoreRejected
from penstock.stores.pgvector.catalog import hold, make
from penstock.stores.pgvector.database import Session
from penstock.stores.postgres.bulk import ROWS, columns
from penstock.wire.records import Embedding, EmbeddingDeletion, VectorRecord

_PART_BYTES = 2**20
"""Of vectors in one statement, which has `timeout` seconds: an index takes 1 ms for one of 384 numbers, and many times
as long on a busy server. The driver encodes them on the loop's thread in 3 ms."""

_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
"""NUL in JSON, which its index cannot express."""

_by_key = attrgetter("key")


def refuse_nul(embeddings: Iterable[Embedding]) -> None:
    """Raise `StoreRejected` where metadata holds NUL. No builder makes any; a question about it would fail for all."""
    for each in embeddings:
        if each.metadata is not None and b"\\u0000" in each.metadata and _NUL.search(each.metadata):
            raise StoreRejected("embedding: metadata holds NUL, which PostgreSQL cannot express")


async def apply(session: Session, parts: Mapping[str, Sequence[VectorRecord]], fence: Fence | None) -> int:
    """Write what becomes of each collection. Returns how many records were new or newer.

    Every transaction locks in one order: fence, collections by name, rows by key.

    Raises:
        StaleOwner: A higher epoch has written. Nothing is written.
        DimensionMismatch: Nothing is written.
        Collision: Nothing is written; the next try may pass.
    """
    if fence is not None:
        await _hold(session, fence)
    there = await hold(session, parts)
    numbers: dict[str, int] = {}
    for name in sorted(parts):
        number, known = there.get(name, (None, None))
        dimension = dimension_after(name, known, parts[name])
        if dimension is not None:
            numbers[name] = await make(session, name, dimension) if number is None else number
    return sum([await _put(session, number, parts[name]) for name, number in numbers.items()])


async def _hold(session: Session, fence: Fence) -> None:
    connection, names = session
    if await connection.fetchval(names.sql("hold_vector_fence"), *fence) is None:
        seen = await connection.fetchval(names.sql("vector_fence"), fence.partition)
        raise StaleOwner(fence.partition, fence.epoch, seen)


async def _put(session: Session, number: int, records: Sequence[VectorRecord]) -> int:
    sql = session.names.of("put_vectors", number)
    written = 0
    for rows in _parts([_row(record) for record in sorted(records, key=_by_key)]):
        told: str = await session.connection.execute(sql, *columns(rows))
        written += int(told.rpartition(" ")[2])  # "INSERT 0 5"
    return written


def _row(record: VectorRecord) -> Sequence[Any]:
    if isinstance(record, EmbeddingDeletion):
        return record.key, record.created_at_us, record.id, False, None, None, None
    return (
        record.key,
        record.created_at_us,
        record.id,
        record.normalised,
        record.text,
        record.metadata,
        record.vector,
    )


def _parts(rows: Sequence[Sequence[Any]]) -> Iterator[Sequence[Sequence[Any]]]:
    """*rows*, as many at a time as one statement takes."""
    longest = max((len(row[-1]) for row in rows if row[-1] is not None), default=FLOAT_BYTES)
    size = max(1, min(ROWS, _PART_BYTES // longest))
    for at in range(0, len(rows), size):
        yield rows[at : at + size]
