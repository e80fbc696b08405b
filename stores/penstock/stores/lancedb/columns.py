"""What a collection's table looks like, and records as Arrow without a Python list of floats."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from penstock.stores.errors import StoreRejected
from penstock.stores.rows import Hit
from penstock.wire.records import Embedding
from penstock.wire.text import load_object

SCHEMA_VERSION = 1
"""Kept in the table's metadata. A higher one was written by a newer Penstock."""

HIT_COLUMNS = ["id", "text", "metadata", "_distance"]

_VERSION_KEY = b"penstock_schema"
_PRIMARY_KEY = {b"lance-schema:unenforced-primary-key": b"true"}


def schema(dimension: int) -> pa.Schema:
    """The columns, always sent in full and in this order: partial rows have corrupted Lance indexes (lance#5321)."""
    return pa.schema(
        [
            # A second line of defence: two writers that slip past the lock conflict instead of duplicating.
            pa.field("id", pa.string(), nullable=False, metadata=_PRIMARY_KEY),
            pa.field("vector", pa.list_(pa.float32(), dimension), nullable=False),
            pa.field("text", pa.string()),
            pa.field("metadata", pa.json_()),
            pa.field("version", pa.int64(), nullable=False),
            pa.field("record_id", pa.binary(16), nullable=False),
            pa.field("normalised", pa.bool_(), nullable=False),
        ],
        metadata={_VERSION_KEY: str(SCHEMA_VERSION)},
    )


def table_dimension(collection: str, found: pa.Schema) -> int:
    """The vector length of an existing table.

    Raises:
        StoreRejected: The table is not ours, or a newer Penstock made it.
    """
    version = (found.metadata or {}).get(_VERSION_KEY)
    if version is None:
        raise StoreRejected(f"table {collection} was not made by Penstock; give it another name or another folder")
    if int(version) > SCHEMA_VERSION:
        raise StoreRejected(
            f"table {collection} has schema {int(version)}, this Penstock knows {SCHEMA_VERSION}; upgrade it"
        )
    return int(found.field("vector").type.list_size)


def to_batch(embeddings: Sequence[Embedding], dimension: int) -> pa.RecordBatch:
    """*embeddings*, all of this *dimension*, as one batch; the vectors are copied once.

    Raises:
        StoreRejected: Some vector is not finite; Lance 13 would store it in a new table.
    """
    flat = np.frombuffer(b"".join([each.vector for each in embeddings]), "<f4").astype(np.float32, copy=False)
    if not np.isfinite(flat).all():
        raise StoreRejected("embedding: every number of a vector must be finite")
    return pa.record_batch(
        [
            pa.array([each.key for each in embeddings], pa.string()),
            pa.FixedSizeListArray.from_arrays(pa.array(flat), dimension),
            pa.array([each.text for each in embeddings], pa.string()),
            pa.ExtensionArray.from_storage(pa.json_(), pa.array([each.metadata for each in embeddings], pa.string())),
            pa.array([each.created_at_us for each in embeddings], pa.int64()),
            pa.array([each.id for each in embeddings], pa.binary(16)),
            pa.array([each.normalised for each in embeddings], pa.bool_()),
        ],
        schema=schema(dimension),
    )


def checked(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A batch of `to_batch` for a table that is there, with vectors in which the driver looks for no NaN.

    Its look makes 8 bytes and more of each number, in a thread that holds Python's lock: a fifth of the processor time
    of a merge of 650 vectors of 1,536. It passes over what is no list, and then casts it to the type of the table's
    column, which copies nothing.
    """
    at = batch.schema.get_field_index("vector")
    vectors = batch.column(at)
    passed = pa.ExtensionArray.from_storage(_Checked(vectors.type.list_size), vectors)
    return batch.set_column(at, pa.field("vector", passed.type, nullable=False), passed)


class _Checked(pa.ExtensionType):  # type: ignore[misc] # pyarrow tells no types
    """Vectors that are known to be finite. The type is met within one call of the driver and never stored."""

    def __init__(self, dimension: int) -> None:
        super().__init__(pa.list_(pa.float32(), dimension), "penstock.checked_vector")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage: Any, _: bytes) -> _Checked:
        return cls(storage.list_size)


def query_vector(vector: bytes) -> pa.Array:
    """float32 bytes as the driver takes a query, without a list."""
    return pa.array(np.frombuffer(vector, "<f4").astype(np.float32, copy=False))


def to_hits(found: pa.Table) -> list[Hit]:
    """Rows of `HIT_COLUMNS` as hits, in their order."""
    rows = zip(*(found.column(name).to_pylist() for name in HIT_COLUMNS), strict=True)
    return [
        Hit(id=key, score=1.0 - distance, text=text, metadata=load_object(metadata))
        for key, text, metadata, distance in rows
        if distance is not None and math.isfinite(distance)
    ]
