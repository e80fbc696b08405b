"""What every vector store asks of a batch before it writes: embeddings only, one a key, one length a collection."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from penstock.stores.contract import Trial
from penstock.stores.errors import DimensionMismatch, StoreRejected
from penstock.stores.soundness import refuse_unsound
from penstock.wire.building import collection_name
from penstock.wire.errors import InvalidRecord
from penstock.wire.records import Embedding, Record

FLOAT_BYTES = 4


def by_collection(records: Sequence[Record]) -> dict[str, list[Embedding]]:
    """The embeddings of each collection, one a key: the latest, and among equals the last.

    Raises:
        StoreRejected: Some record is no embedding, or one that no builder makes. No value is in its words.
    """
    latest: dict[str, dict[str, Embedding]] = {}
    embeddings = _sound(records)
    for record in embeddings:
        keys = latest.setdefault(record.collection, {})
        there = keys.get(record.key)
        if there is None or record.created_at_us >= there.created_at_us:
            keys[record.key] = record
    for collection in latest:
        _check_name(collection)
    return {collection: list(keys.values()) for collection, keys in latest.items()}


def _sound(records: Sequence[Record]) -> list[Embedding]:
    embeddings: list[Embedding] = []
    for record in records:
        if not isinstance(record, Embedding):
            raise StoreRejected(f"a vector store keeps embeddings, not {type(record).__name__}; check the lane's store")
        if not record.vector or len(record.vector) % FLOAT_BYTES:
            raise StoreRejected("embedding: vector must be one or more numbers of 4 bytes")
        embeddings.append(record)
    refuse_unsound(embeddings)
    return embeddings


def _check_name(collection: str) -> None:
    """It is a folder's name too: one of a foreign producer may lead out of the store's."""
    try:
        collection_name(collection)
    except InvalidRecord as exc:
        raise StoreRejected(f"embedding: of a collection's name {exc.limit}") from None


def try_out(
    records: Sequence[Record],
    dimensions: Mapping[str, int],
    versions: Mapping[tuple[str, str], int],
    check: Callable[[Embedding, int], object],
) -> list[Trial]:
    """What would become of *records*, in order, where collections have these *dimensions* and their keys these
    *versions*. *check* raises `StoreRejected` for what the backend refuses in a vector of a dimension.
    """
    known, stored = dict(dimensions), dict(versions)
    return [_trial(record, known, stored, check) for record in records]


def _trial(
    record: Record,
    dimensions: dict[str, int],
    versions: dict[tuple[str, str], int],
    check: Callable[[Embedding, int], object],
) -> Trial:
    try:
        (((collection, (embedding,))),) = by_collection([record]).items()
        dimension = dimensions.get(collection, dimension_of(embedding.vector))
        check_dimension(collection, dimension, [embedding.vector])
        check(embedding, dimension)
    except StoreRejected as exc:
        return Trial(is_new=False, refusal=str(exc))
    key = collection, embedding.key
    is_new = key not in versions or versions[key] < embedding.created_at_us
    if is_new:
        dimensions[collection], versions[key] = dimension, embedding.created_at_us
    return Trial(is_new=is_new)


def dimension_of(vector: bytes) -> int:
    """How many float32 numbers *vector* holds."""
    return len(vector) // FLOAT_BYTES


def check_dimension(collection: str, dimension: int, vectors: Iterable[bytes]) -> None:
    """Raise `DimensionMismatch` at the first of *vectors* (float32 bytes) that has another length."""
    for vector in vectors:
        if len(vector) != FLOAT_BYTES * dimension:
            found = len(vector) / FLOAT_BYTES
            raise DimensionMismatch(
                f"collection {collection} holds vectors of {dimension} numbers, this one has {found:g}; "
                f"another model needs another collection"
            )
