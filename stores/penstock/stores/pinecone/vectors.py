"""Points as records of Pinecone, and back, to the bit; and requests of a size that it takes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias
from urllib.parse import quote, unquote

import numpy as np
import orjson

from penstock.stores.errors import StoreRejected
from penstock.stores.points.engine import EXACT, TERMS, UNIT, VERSION, Layout, Point
from penstock.stores.points.filtering import NUMBERS, RESIDUES

REQUEST_RECORDS = 1_000
REQUEST_BYTES = 2_000_000
METADATA_BYTES = 40 * 1024
"""The limits of Pinecone on an upsert, and on one record's metadata (its "Operation limits", July 2026)."""

MAX_DIMENSION = 20_000

_ID_CHARS = 512

LIVE = "!live"
"""The term of what a search may find. No path begins so."""

_AT = "at"
"""Where `created_at_us` is as text: every number of Pinecone's is a float64."""

_ZERO = "zero"
"""Tells that the vector is all zeros, which Pinecone refuses, and another stands in for it."""

Vector: TypeAlias = dict[str, Any]


def id_of(key: str) -> str:
    """What *key*'s record is called: Pinecone takes 512 characters of ASCII. Percent-encoded, else a digest."""
    quoted = quote(key, safe="")
    if len(quoted) <= _ID_CHARS:
        return quoted
    return "%%" + hashlib.blake2b(key.encode(), digest_size=32).hexdigest()


def key_of(record_id: str) -> str | None:
    """The key of *record_id*; None where it is a digest."""
    return None if record_id.startswith("%%") else unquote(record_id)


def numbers_of(vector: bytes) -> list[float]:
    """The numbers of *vector* so that JSON has the fewest digits that make the same float32: half the bytes."""
    numbers: list[float] = orjson.loads(orjson.dumps(np.frombuffer(vector, "<f4"), option=orjson.OPT_SERIALIZE_NUMPY))
    return numbers


def stand_in(dimension: int) -> list[float]:
    """The vector of what has none: a tombstone, or zeros."""
    return [1.0, *[0.0] * (dimension - 1)]


def to_requests(points: Sequence[Point], layout: Layout) -> list[list[Vector]]:
    """*points* in requests that Pinecone takes.

    Raises:
        StoreRejected: One that it never takes.
    """
    requests: list[list[Vector]] = [[]]
    room = REQUEST_BYTES - 1_000  # for what is round them
    for vector in (_vector(each, layout) for each in points):
        size = len(orjson.dumps(vector)) + 1
        if len(requests[-1]) == REQUEST_RECORDS or (size > room and requests[-1]):
            requests.append([])
            room = REQUEST_BYTES - 1_000
        requests[-1].append(vector)
        room -= size
    return requests


def _vector(point: Point, layout: Layout) -> Vector:
    metadata = {
        **{name: value for name, value in point.payload.items() if name not in {TERMS, NUMBERS, RESIDUES}},
        _AT: str(point.payload[VERSION]),
        TERMS: [*point.payload[TERMS]],
    }
    for tree in (NUMBERS, RESIDUES):
        metadata.update(_leaves(tree, point.payload.get(tree, {})))
    sent = point.vectors.get(EXACT) or point.vectors.get(UNIT)
    is_zero = sent is not None and not any(np.frombuffer(sent, "<f4"))
    if is_zero:
        if layout.metric != "cosine":
            raise StoreRejected(
                "embedding: a vector of zeros is nothing that Pinecone keeps; leave it out, or use a store of cosine"
            )
        metadata[_ZERO] = True
    if sent is not None and not is_zero:
        metadata[TERMS].append(LIVE)
    _check_metadata(metadata)
    values = stand_in(layout.dimension) if sent is None or is_zero else numbers_of(sent)
    return {"id": point.id, "values": values, "metadata": metadata}


def _leaves(path: str, tree: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Every number of *tree* by its path joined with dots: Pinecone has no objects in metadata."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(f"{path}.{name}", value)
        else:
            yield f"{path}.{name}", value


def _check_metadata(metadata: Mapping[str, Any]) -> None:
    size = len(orjson.dumps(metadata))
    if size > METADATA_BYTES:
        raise StoreRejected(
            f"embedding: text, metadata and what filters ask of it are {size:,} bytes, and Pinecone keeps "
            f"{METADATA_BYTES:,} beside a vector; keep long texts as documents"
        )


def from_vector(vector: Any) -> Point:
    """A record of Pinecone that was read whole."""
    metadata = vector.metadata
    vectors = {}
    if LIVE in metadata[TERMS]:
        vectors[EXACT] = np.array(vector.values, "<f4").tobytes()
    elif metadata.get(_ZERO):
        vectors[EXACT] = bytes(4 * len(vector.values))
    return Point(vector.id, {**metadata, VERSION: version_of(metadata)}, vectors)


def version_of(metadata: Mapping[str, Any]) -> int:
    """`created_at_us` of a record with this *metadata*."""
    return int(metadata[_AT])
