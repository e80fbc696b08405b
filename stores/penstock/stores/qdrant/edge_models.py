"""Points and conditions as the engine in this process takes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import qdrant_edge as qdrant

from penstock.stores.metrics import floats_of
from penstock.stores.points.engine import BREADTH, EXACT, TERMS, UNIT, Group, Layout, Number, Point, Term, Wanted

LINKS = 16
"""Neighbours of a vector in the index, as a server has them unless it is told otherwise."""

_BOUNDS = {">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}


def to_config(layout: Layout) -> Any:
    """The configuration of a collection."""
    searched = qdrant.HnswIndexConfig(LINKS, BREADTH, layout.threshold_kb)
    distance = qdrant.Distance.Euclid if layout.metric == "l2" else qdrant.Distance.Dot
    vectors = {EXACT: qdrant.EdgeVectorParams(layout.dimension, distance, hnsw_config=searched)}
    if layout.searched == UNIT:
        # What was sent is only ever read back: it takes no memory and no index.
        unsearched = qdrant.HnswIndexConfig(0, BREADTH, 0)
        vectors[EXACT] = qdrant.EdgeVectorParams(
            layout.dimension, distance, memory=qdrant.Memory.Cold, hnsw_config=unsearched
        )
        vectors[UNIT] = qdrant.EdgeVectorParams(layout.dimension, distance, hnsw_config=searched)
    return qdrant.EdgeConfig(
        vectors=vectors,
        hnsw_config=searched,
        optimizers=qdrant.EdgeOptimizersConfig(indexing_threshold=layout.threshold_kb),
    )


def to_point(point: Point) -> Any:
    """*point* for an upsert."""
    # The engine takes any sequence of numbers; this one costs least, an array of numpy twice as much.
    vectors: Any = {name: floats_of(each) for name, each in point.vectors.items()}
    return qdrant.Point(point.id, vectors, dict(point.payload))


def from_record(record: Any) -> Point:
    """A point that was read whole."""
    vectors = {name: np.array(each, "<f4").tobytes() for name, each in (record.vector or {}).items()}
    return Point(str(record.id), record.payload, vectors)


def to_filter(wanted: Wanted) -> Any:
    """*wanted* as a filter."""
    if isinstance(wanted, Group):
        return qdrant.Filter(
            must=_conditions(wanted.must), should=_conditions(wanted.should), must_not=_conditions(wanted.must_not)
        )
    return qdrant.Filter(must=[_condition(wanted)])


def _conditions(wanted: tuple[Wanted, ...]) -> list[Any] | None:
    return [_condition(each) for each in wanted] or None


def _condition(wanted: Wanted) -> Any:
    match wanted:
        case Term(values):
            return qdrant.FieldCondition(TERMS, match=qdrant.MatchAny(list(values)))
        case Number(key, "=", value):
            return qdrant.FieldCondition(key, range=qdrant.RangeFloat(gte=value, lte=value))
        case Number(key, op, value):
            return qdrant.FieldCondition(key, range=qdrant.RangeFloat(**{_BOUNDS[op]: value}))
    return to_filter(wanted)
