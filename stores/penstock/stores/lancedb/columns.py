"""What a collection's table looks like, and records as Arrow without a Python list of floats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from penstock.stores.embeddings import FLOAT_BYTES
from penstock.stores.errors import StoreRejected
from penstock.wire.records import Embedding, EmbeddingDeletion, VectorRecord

SCHEMA_VERSION = 1
"""Kept in the table's metadata. A higher one was written by a newer Penstock."""

DELETED = "deleted"
"""Tells tombstones from vectors. A table gets this column with its first deletion: most have neither."""

_VERSION_KEY = b"penstock_schema"
_PRIMARY_KEY = {b"lance-schema:unenforced-primary-key": b"true"}


def schema(dimension: int, *, marked: bool = False) -> pa.Schema:
    """The columns, always sent in full and in this order: partial rows have corrupted Lance indexes (lance#5321).

    *marked* tables tell tombstones from vectors.
    """
    fields = [
        # A second line of defence: two writers that slip past the lock conflict instead of duplicating.
        pa.field("id", pa.string(), nullable=False, metadata=_PRIMARY_KEY),
        pa.field("vector", pa.list_(pa.float32(), dimension), nullable=False),
        pa.field("text", pa.string()),
        pa.field("metadata", pa.json_()),
        pa.field("version", pa.int64(), nullable=False),
        pa.field("record_id", pa.binary(16), nullable=False),
        pa.field("normalised", pa.bool_(), nullable=False),
    ]
    if marked:
        fields.append(pa.field(DELETED, pa.bool_(), nullable=False))
    return pa.schema(fields, metadata={_VERSION_KEY: str(SCHEMA_VERSION)})


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


def is_marked(found: pa.Schema) -> bool:
    """Whether a table tells tombstones from vectors."""
    return DELETED in found.names


def to_batch(records: Sequence[VectorRecord], dimension: int, *, marked: bool = False) -> pa.RecordBatch:
    """*records*, all of this *dimension*, as one batch for a table that is *marked*; the vectors are copied once.

    Where there are deletions among them it must be.

    Raises:
        StoreRejected: Some vector is not finite; Lance 13 would store it in a new table.
    """
    embeddings: Sequence[Any] = records
    deleted = None
    if marked:
        embeddings, deleted = _rows(records, dimension)
    flat = np.frombuffer(b"".join([each.vector for each in embeddings]), "<f4").astype(np.float32, copy=False)
    if not np.isfinite(flat).all():
        raise StoreRejected("embedding: every number of a vector must be finite")
    columns = [
        pa.array([each.key for each in embeddings], pa.string()),
        pa.FixedSizeListArray.from_arrays(pa.array(flat), dimension),
        pa.array([each.text for each in embeddings], pa.string()),
        pa.ExtensionArray.from_storage(pa.json_(), pa.array([each.metadata for each in embeddings], pa.string())),
        pa.array([each.created_at_us for each in embeddings], pa.int64()),
        pa.array([each.id for each in embeddings], pa.binary(16)),
        pa.array([each.normalised for each in embeddings], pa.bool_()),
    ]
    if deleted is not None:
        columns.append(pa.array(deleted, pa.bool_()))
    return pa.record_batch(columns, schema=schema(dimension, marked=marked))


def with_marks(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A batch without tombstones, for a table that is marked."""
    dimension = batch.schema.field("vector").type.list_size
    none = pa.array(np.zeros(batch.num_rows, np.bool_))
    return pa.record_batch([*batch.columns, none], schema=schema(dimension, marked=True))


def _rows(records: Sequence[VectorRecord], dimension: int) -> tuple[list[Embedding], list[bool]]:
    """*records* as rows, and which of them are tombstones: these have a vector of zeros, which is near nothing."""
    zeros = bytes(FLOAT_BYTES * dimension)
    rows = [
        each
        if isinstance(each, Embedding)
        else Embedding(each.id, each.created_at_us, each.collection, each.key, zeros)
        for each in records
    ]
    return rows, [isinstance(each, EmbeddingDeletion) for each in records]


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
