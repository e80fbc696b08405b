"""Points and conditions as messages of Qdrant's gRPC interface.

The client's own models would make a Python list of each vector, 13 us of 384 numbers; bytes go as they are in 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from qdrant_client import grpc

from penstock.stores.points.engine import (
    BREADTH,
    EXACT,
    TERMS,
    UNIT,
    VERSION,
    Group,
    Layout,
    Number,
    Point,
    Term,
    Wanted,
)

_DENSE = b"\x0a"
"""The tag of `DenseVector.data`: packed, so what follows its length is float32 bytes."""

_BOUNDS = {">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}


def to_collection(name: str, layout: Layout) -> Any:
    """The request that makes a collection."""
    distance = grpc.Distance.Euclid if layout.metric == "l2" else grpc.Distance.Dot
    vectors = {EXACT: grpc.VectorParams(size=layout.dimension, distance=distance)}
    if layout.searched == UNIT:
        # What was sent is only ever read back: it takes no memory and no index.
        unsearched = grpc.HnswConfigDiff(m=0)
        vectors[EXACT] = grpc.VectorParams(
            size=layout.dimension, distance=distance, on_disk=True, hnsw_config=unsearched
        )
        vectors[UNIT] = grpc.VectorParams(size=layout.dimension, distance=distance)
    return grpc.CreateCollection(
        collection_name=name,
        vectors_config=grpc.VectorsConfig(params_map=grpc.VectorParamsMap(map=vectors)),
        hnsw_config=grpc.HnswConfigDiff(ef_construct=BREADTH, full_scan_threshold=layout.threshold_kb),
        optimizers_config=grpc.OptimizersConfigDiff(indexing_threshold=layout.threshold_kb),
    )


def from_collection(info: Any) -> dict[str, tuple[int, str]]:
    """The dimension and distance of each named vector of a collection."""
    named = info.config.params.vectors_config.params_map.map
    return {name: (each.size, grpc.Distance.Name(each.distance)) for name, each in named.items()}


def to_ids(ids: Iterable[str]) -> list[Any]:
    """Ids of points."""
    return [grpc.PointId(uuid=each) for each in ids]


def to_upsert(name: str, points: Sequence[Point], below: int | None) -> Any:
    """The request that writes *points*, each where nothing is there, or a version before *below*.

    Filled in place: a message that is made of others copies them at each level, vectors and all (37 us of a point with
    two vectors of 384 numbers, in place 15).
    """
    request = grpc.UpsertPoints(collection_name=name, wait=True)
    for point in points:
        _fill_point(request.points.add(), point)
    if below is not None:
        request.update_filter.CopyFrom(to_filter(Number(VERSION, "<", below)))
    return request


def _fill_point(message: Any, point: Point) -> None:
    message.id.uuid = point.id
    for name, value in point.payload.items():
        _fill_value(message.payload[name], value)
    named = message.vectors.vectors
    named.SetInParent()  # a server refuses a point of which it is not said that it has no vectors
    for name, vector in point.vectors.items():
        named.vectors[name].dense.MergeFromString(_dense(vector))


def _fill_value(message: Any, value: Any) -> None:
    if isinstance(value, str):
        message.string_value = value
    elif isinstance(value, int):
        message.integer_value = value
    elif isinstance(value, float):
        message.double_value = value
    elif isinstance(value, list):
        message.list_value.SetInParent()
        for each in value:
            _fill_value(message.list_value.values.add(), each)
    else:
        for name, each in value.items():
            _fill_value(message.struct_value.fields[name], each)


def from_point(point: Any) -> Point:
    """A point that was read whole."""
    vectors = {name: _from_vector(each) for name, each in point.vectors.vectors.vectors.items()}
    return Point(point.id.uuid, from_payload(point.payload), vectors)


def to_dense(vector: bytes) -> Any:
    """float32 bytes as a vector."""
    return grpc.DenseVector.FromString(_dense(vector))


def _dense(vector: bytes) -> bytes:
    return _DENSE + _length(len(vector)) + vector


@cache
def _length(number: int) -> bytes:
    """*number* as protobuf writes it: seven bits a byte, the lowest first, the top bit where there are more."""
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*written, number])


def _from_vector(vector: Any) -> bytes:
    # Servers before 1.16 know only the field that is out of use since.
    return np.array(vector.dense.data or vector.data, "<f4").tobytes()


def from_payload(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Those values of *payload* that a record is made of: all are text or integers."""
    return {
        name: each.string_value if each.HasField("string_value") else each.integer_value
        for name, each in payload.items()
        if each.HasField("string_value") or each.HasField("integer_value")
    }


def to_filter(wanted: Wanted) -> Any:
    """*wanted* as a filter."""
    if isinstance(wanted, Group):
        return grpc.Filter(
            must=map(_condition, wanted.must),
            should=map(_condition, wanted.should),
            must_not=map(_condition, wanted.must_not),
        )
    return grpc.Filter(must=[_condition(wanted)])


def _condition(wanted: Wanted) -> Any:
    match wanted:
        case Term(values):
            match_any = grpc.Match(keywords=grpc.RepeatedStrings(strings=values))
            return grpc.Condition(field=grpc.FieldCondition(key=TERMS, match=match_any))
        case Number(key, "=", value):
            return grpc.Condition(field=grpc.FieldCondition(key=key, range=grpc.Range(gte=value, lte=value)))
        case Number(key, op, value):
            return grpc.Condition(field=grpc.FieldCondition(key=key, range=grpc.Range(**{_BOUNDS[op]: value})))
    return grpc.Condition(filter=to_filter(wanted))
