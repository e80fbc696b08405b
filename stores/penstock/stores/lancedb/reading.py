"""What a table answers: the nearest vectors, those of given keys, and all of them by key."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from lancedb.query import ColumnOrdering

from penstock.stores.embeddings import FLOAT_BYTES, ranked
from penstock.stores.lancedb import indexing
from penstock.stores.lancedb.catalog import Collection
from penstock.stores.lancedb.columns import DELETED
from penstock.stores.lancedb.filtering import quoted
from penstock.stores.metrics import Metric
from penstock.stores.rows import Hit
from penstock.wire.logs import logger
from penstock.wire.records import Embedding, EmbeddingDeletion, VectorRecord
from penstock.wire.text import load_object

_HIT_COLUMNS = ["id", "text", "metadata", "_distance"]

_LOGGER = "penstock.stores.lancedb"

_ALIVE = f"{DELETED} = false"

_KEYS_AT_ONCE = 1_000


async def nearest(found: Collection, vector: bytes, top_k: int, condition: str | None, metric: Metric) -> list[Hit]:
    """The *top_k* vectors nearest to *vector* for which *condition* holds, which goes first.

    An index is built for one metric; by another one every vector is looked at.
    """
    query = found.table.query().nearest_to(_query_vector(vector)).distance_type(metric).limit(top_k)
    if where := _both(_ALIVE if found.marked else None, condition):
        query = query.where(where)
    query = query.select(_HIT_COLUMNS)
    rows = await _by_index(found, query, metric)
    if rows is None or _has_unmeasured(rows):
        rows = await query.bypass_vector_index().to_arrow()
    return ranked(_hits(rows, metric), top_k)


async def _by_index(found: Collection, query: Any, metric: Metric) -> pa.Table | None:
    """What the index gives; None without one, or where it is torn: the rows themselves may be whole."""
    probes = await indexing.probes(found.table, metric)
    if probes is None:
        return None
    try:
        # Without a bound above: a filter may leave little in the parts that are near, and then more are looked into.
        return await query.maximum_nprobes(0).minimum_nprobes(probes).to_arrow()
    except (RuntimeError, ValueError, OSError) as exc:
        logger(_LOGGER).warning("index_unusable", collection=found.name, reason=str(exc).partition("\n")[0])
        return None


def _has_unmeasured(rows: pa.Table) -> bool:
    """Whether the index gave rows without their distance. Where no more than are asked for pass the filter, Lance 13
    gives those of them that it did not come by as infinitely far."""
    return math.inf in rows.column("_distance").to_pylist()


def _both(left: str | None, right: str | None) -> str | None:
    return f"{left} AND {right}" if left and right else left or right


def _query_vector(vector: bytes) -> pa.Array:
    """float32 bytes as the driver takes a query, without a list."""
    return pa.array(np.frombuffer(vector, "<f4").astype(np.float32, copy=False))


def _hits(found: pa.Table, metric: Metric) -> Iterator[Hit]:
    rows = zip(*(found.column(name).to_pylist() for name in _HIT_COLUMNS), strict=True)
    return (
        Hit(id=key, score=_score(distance, metric), text=text, metadata=load_object(metadata))
        for key, text, metadata, distance in rows
        if distance is not None and math.isfinite(distance)
    )


def _score(distance: float, metric: Metric) -> float:
    """Lance gives 1 - cosine, 1 - dot product, or the Euclidean distance squared."""
    return -math.sqrt(max(distance, 0.0)) if metric == "l2" else 1.0 - distance


async def of_keys(found: Collection, keys: Iterable[str]) -> list[Embedding]:
    """The vectors under those of *keys* that have one."""
    rows = await _rows(found, keys, None)
    return [each for each in records_of(found.name, rows) if isinstance(each, Embedding)]


async def versions_of(found: Collection, keys: Iterable[str]) -> dict[str, int]:
    """The versions of those of *keys* that are there, as a vector or as a tombstone."""
    rows = await _rows(found, keys, ["id", "version"])
    return dict(zip(rows.column("id").to_pylist(), rows.column("version").to_pylist(), strict=True))


async def _rows(found: Collection, keys: Iterable[str], columns: list[str] | None) -> pa.Table:
    wanted = list(dict.fromkeys(keys))
    pages = []
    for at in range(0, len(wanted), _KEYS_AT_ONCE):
        query = found.table.query().where(f"id IN ({', '.join(map(quoted, wanted[at : at + _KEYS_AT_ONCE]))})")
        pages.append(await (query.select(columns) if columns else query).to_arrow())
    return pa.concat_tables(pages)


async def after_key(found: Collection, after: str | None, limit: int) -> Sequence[VectorRecord]:
    """At most *limit* rows behind the key *after*, by key."""
    query = found.table.query()
    if after is not None:
        query = query.where(f"id > {quoted(after)}")
    rows = await query.order_by([ColumnOrdering(column_name="id")]).limit(limit).to_arrow()
    return records_of(found.name, rows)


async def count(found: Collection) -> int:
    """How many vectors the table holds."""
    return int(await found.table.count_rows(_ALIVE if found.marked else None))


def records_of(collection: str, rows: pa.Table) -> list[VectorRecord]:
    """Whole rows of a table as the records that made them."""
    names = ["record_id", "version", "id", "text", "metadata", "normalised"]
    values = zip(*(rows.column(name).to_pylist() for name in names), _vectors(rows), _deleted(rows), strict=True)
    return [
        EmbeddingDeletion(record_id, version, collection, key)
        if deleted
        else Embedding(record_id, version, collection, key, vector, text, _encoded(metadata), normalised)
        for record_id, version, key, text, metadata, normalised, vector, deleted in values
    ]


def _vectors(rows: pa.Table) -> list[bytes]:
    column = rows.column("vector").combine_chunks()
    size = FLOAT_BYTES * column.type.list_size
    flat = column.flatten().to_numpy(zero_copy_only=False).astype("<f4", copy=False).tobytes()
    return [flat[at : at + size] for at in range(0, len(flat), size)]


def _deleted(rows: pa.Table) -> list[bool]:
    return rows.column(DELETED).to_pylist() if DELETED in rows.column_names else [False] * rows.num_rows


def _encoded(metadata: Any) -> bytes | None:
    return metadata.encode() if isinstance(metadata, str) else metadata
