"""What every vector store asks of a batch before it writes: what it keeps only, one a key, one length a collection."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from penstock.stores.contract import Trial
from penstock.stores.errors import DimensionMismatch, StoreRejected
from penstock.stores.metrics import floats_of
from penstock.stores.rows import Hit, StoredVector
from penstock.stores.soundness import refuse_unsound
from penstock.wire.building import collection_name
from penstock.wire.errors import InvalidRecord
from penstock.wire.ids import from_us
from penstock.wire.records import Embedding, EmbeddingDeletion, Record, VectorRecord
from penstock.wire.text import load_object

FLOAT_BYTES = 4


def by_collection(records: Sequence[Record]) -> dict[str, list[VectorRecord]]:
    """What becomes of each collection, one record a key: the latest, and among equals the last.

    Raises:
        StoreRejected: Some record is no embedding and no deletion of one, or no builder makes it. No value is in its
            words.
    """
    latest: dict[str, dict[str, VectorRecord]] = {}
    for record in _sound(records):
        keys = latest.setdefault(record.collection, {})
        there = keys.get(record.key)
        if there is None or record.created_at_us >= there.created_at_us:
            keys[record.key] = record
    for collection in latest:
        _check_name(collection)
    return {collection: list(keys.values()) for collection, keys in latest.items()}


def _sound(records: Sequence[Record]) -> list[VectorRecord]:
    kept: list[VectorRecord] = []
    for record in records:
        if not isinstance(record, Embedding | EmbeddingDeletion):
            raise StoreRejected(f"a vector store keeps embeddings, not {type(record).__name__}; check the lane's store")
        if isinstance(record, Embedding) and not record.vector:
            raise StoreRejected("embedding: it has no vector, and no embedder made one; set PENSTOCK_EMBEDDER")
        if isinstance(record, Embedding) and len(record.vector) % FLOAT_BYTES:
            raise StoreRejected("embedding: vector must be one or more numbers of 4 bytes")
        kept.append(record)
    embeddings = embeddings_of(kept)
    refuse_unsound(embeddings)
    if len(embeddings) < len(kept):
        refuse_unsound([each for each in kept if isinstance(each, EmbeddingDeletion)])
    return kept


def _check_name(collection: str) -> None:
    """It is a folder's name too: one of a foreign producer may lead out of the store's."""
    try:
        collection_name(collection)
    except InvalidRecord as exc:
        raise StoreRejected(f"embedding: of a collection's name {exc.limit}") from None


def embeddings_of(records: Iterable[VectorRecord]) -> list[Embedding]:
    """Those of *records* that are no deletions."""
    return [each for each in records if isinstance(each, Embedding)]


def dimension_after(collection: str, known: int | None, records: Sequence[VectorRecord]) -> int | None:
    """The dimension of *collection*, which is *known* where it exists, once *records* of it are written.

    None where there is none then: deletions alone make no collection, and nothing of them is to be written.

    Raises:
        DimensionMismatch: Some vector has another one.
    """
    embeddings = embeddings_of(records)
    dimension = known or (dimension_of(embeddings[0].vector) if embeddings else None)
    if dimension is not None:
        check_dimension(collection, dimension, (each.vector for each in embeddings))
    return dimension


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


def check_query(collection: str, dimension: int, vector: bytes) -> None:
    """Pass if *vector* can be searched for where vectors have this *dimension*.

    Raises:
        DimensionMismatch: Another length.
        StoreRejected: Not finite.
    """
    check_dimension(collection, dimension, [vector])
    if not _is_finite(vector):
        raise StoreRejected("query: every number of a vector must be finite")


def refuse_infinite(embeddings: Iterable[Embedding]) -> None:
    """Raise `StoreRejected` unless every number is finite. Stores that have numpy look at all at once."""
    for each in embeddings:
        if not _is_finite(each.vector):
            raise StoreRejected("embedding: every number of a vector must be finite")


def _is_finite(vector: bytes) -> bool:
    # A sum of float32 in float64 cannot overflow, so it is finite exactly when every part is.
    return math.isfinite(sum(floats_of(vector)))


def try_out(
    records: Sequence[Record],
    dimensions: Mapping[str, int],
    versions: Mapping[tuple[str, str], int],
    check: Callable[[Embedding, int], object],
) -> list[Trial]:
    """What would become of *records*, in order, where collections have these *dimensions* and their keys these
    *versions*, tombstones among them. *check* raises `StoreRejected` for what the backend refuses in a vector of a
    dimension.
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
        (((collection, (change,))),) = by_collection([record]).items()
        dimension = dimension_after(collection, dimensions.get(collection), [change])
        if isinstance(change, Embedding) and dimension is not None:
            check(change, dimension)
    except StoreRejected as exc:
        return Trial(is_new=False, refusal=str(exc))
    key = collection, change.key
    if dimension is None or (key in versions and versions[key] >= change.created_at_us):
        return Trial(is_new=False)
    dimensions[collection], versions[key] = dimension, change.created_at_us
    return Trial(is_new=True)


def ranked(hits: Iterable[Hit], top_k: int) -> list[Hit]:
    """The *top_k* best of *hits*, best first, those of one score by id."""
    return sorted(hits, key=lambda hit: (-hit.score, hit.id))[:top_k]


async def search_wider(
    ask: Callable[[int], Awaitable[Sequence[Hit]]], holds: Callable[[Hit], bool], top_k: int
) -> list[Hit]:
    """The *top_k* best for which *holds*, where the backend itself cannot tell.

    *ask* gives the best of as many as it is asked for. It is asked for more until enough hold, or all were seen.
    """
    wanted = 4 * top_k
    while True:
        found = await ask(wanted)
        kept = [hit for hit in found if holds(hit)]
        if len(kept) >= top_k or len(found) < wanted:
            return ranked(kept, top_k)
        wanted *= 4


def stored_vector(embedding: Embedding) -> StoredVector:
    """*embedding* as it is read back."""
    return StoredVector(
        id=embedding.key,
        vector=embedding.vector,
        text=embedding.text,
        metadata=load_object(embedding.metadata),
        created_at=from_us(embedding.created_at_us),
    )
