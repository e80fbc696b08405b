"""Records as points, and back, to the byte."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from penstock.stores.embeddings import embeddings_of
from penstock.stores.errors import StoreRejected
from penstock.stores.points.engine import EXACT, TERMS, UNIT, VERSION, Layout, Near, Point
from penstock.stores.points.filtering import NUMBERS, RESIDUES
from penstock.stores.points.terms import TOMBSTONE, describe
from penstock.stores.rows import Hit
from penstock.wire.records import Embedding, EmbeddingDeletion, VectorRecord
from penstock.wire.text import load_object

_NAMESPACE = uuid.UUID("5bb04a7c-6e0c-5d2c-93f5-0f2a7b0f5a4e").bytes

_UNIT_WITHIN = 1e-6
"""How far the square of a length may be from 1: the cosine is then off by half of that at most, less than float32."""

Floats = npt.NDArray[np.float32]


def point_id(key: str) -> str:
    """The id of *key*'s point: Qdrant takes UUIDs and numbers only. A UUIDv5, as `uuid.uuid5` makes it."""
    digest = bytearray(hashlib.sha1(_NAMESPACE + key.encode(), usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    text = digest.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def refuse_infinite(records: Sequence[VectorRecord]) -> None:
    """Raise `StoreRejected` unless every number of every vector is finite."""
    if not np.isfinite(np.frombuffer(b"".join([each.vector for each in embeddings_of(records)]), "<f4")).all():
        raise StoreRejected("embedding: every number of a vector must be finite")


def to_points(records: Sequence[VectorRecord], layout: Layout, id_of: Callable[[str], str] = point_id) -> list[Point]:
    """*records*, whose vectors are of the *layout*'s dimension, as points."""
    embeddings = embeddings_of(records)
    vectors = iter(_vectors(embeddings, layout))
    return [
        Point(id_of(record.key), _described(record), next(vectors))
        if isinstance(record, Embedding)
        else Point(id_of(record.key), _payload(record) | {TERMS: [TOMBSTONE]}, {})
        for record in records
    ]


def _vectors(embeddings: Sequence[Embedding], layout: Layout) -> list[dict[str, bytes]]:
    """The named vectors of each. One of length 1 is its own direction, and is kept once; zeros have none."""
    if layout.metric != "cosine" or not embeddings:
        return [{EXACT: each.vector} for each in embeddings]
    flat = np.frombuffer(b"".join([each.vector for each in embeddings]), "<f4").reshape(-1, layout.dimension)
    squares = np.einsum("ij,ij->i", flat, flat, dtype=np.float64)
    is_unit = np.abs(squares - 1) <= _UNIT_WITHIN
    vectors: list[dict[str, bytes]] = []
    for embedding, row, square, unit in zip(embeddings, flat, squares.tolist(), is_unit.tolist(), strict=True):
        if unit:
            vectors.append({UNIT: embedding.vector})
        elif square:
            vectors.append({EXACT: embedding.vector, UNIT: _scaled(row, square)})
        else:
            vectors.append({EXACT: embedding.vector})
    return vectors


def _scaled(row: Floats, square: float) -> bytes:
    scaled: Floats = (row / np.sqrt(square)).astype("<f4")
    return scaled.tobytes()


def direction(vector: bytes) -> bytes | None:
    """*vector* with length 1; None when it is all zeros."""
    row = np.frombuffer(vector, "<f4")
    square = float(np.einsum("i,i->", row, row, dtype=np.float64))
    return _scaled(row, square) if square else None


def _described(record: Embedding) -> dict[str, Any]:
    payload = _payload(record)
    terms, numbers, residues = describe(load_object(record.metadata))
    payload[TERMS] = terms
    if numbers:
        payload[NUMBERS] = numbers
    if residues:
        payload[RESIDUES] = residues
    if record.text is not None:
        payload["text"] = record.text
    if record.metadata is not None:
        payload["metadata"] = record.metadata.decode()
    if record.normalised:
        payload["normalised"] = 1
    return payload


def _payload(record: VectorRecord) -> dict[str, Any]:
    return {"key": record.key, VERSION: record.created_at_us, "id": record.id.hex()}


def to_record(collection: str, point: Point) -> VectorRecord:
    """The record that makes *point*."""
    payload = point.payload
    head = bytes.fromhex(payload["id"]), payload[VERSION], collection, payload["key"]
    if not point.vectors:
        return EmbeddingDeletion(*head)
    metadata = payload.get("metadata")
    return Embedding(
        *head,
        point.vectors.get(EXACT) or point.vectors[UNIT],
        payload.get("text"),
        None if metadata is None else metadata.encode(),
        "normalised" in payload,
    )


def to_hit(near: Near, layout: Layout) -> Hit:
    """An answer as a hit, with a score that is higher where it is nearer."""
    score = 0.0 - near.score if layout.metric == "l2" else near.score
    return Hit(
        id=near.payload["key"],
        # Of two directions in float32 the product may be a little above 1.
        score=max(-1.0, min(1.0, score)) if layout.metric == "cosine" else score,
        text=near.payload.get("text"),
        metadata=load_object(near.payload.get("metadata")),
    )
