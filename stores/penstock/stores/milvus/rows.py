"""Points as rows of Milvus, and back, to the byte. A row has a vector always, and text of 65,535 bytes at most."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from penstock.stores.metrics import METRICS, Metric
from penstock.stores.points.engine import TERMS, VERSION, Layout, Point
from penstock.stores.points.filtering import NUMBERS, RESIDUES
from penstock.stores.points.flat import flat, vectors_of

ID = "id"
KEY = "key"
HIDDEN = "hidden"
"""Whether no search is to find the row."""

RECORD = "record"
"""What makes the record anew, as JSON in pieces."""

PIECE_CHARS = 16_000
"""Of the record's text; none of them has more than 64,000 bytes."""

_SENT = "sent"

_ELSEWHERE = ("key", VERSION, TERMS, NUMBERS, RESIDUES)


def vector_field(metric: Metric) -> str:
    """What the vector's field is called. It tells the metric: Lite keeps no description of a collection."""
    return f"penstock_{metric}"


def to_row(point: Point, layout: Layout) -> dict[str, Any]:
    """*point* as Milvus takes it."""
    made = flat(point, layout)
    record = {name: value for name, value in point.payload.items() if name not in _ELSEWHERE}
    text = orjson.dumps(record | ({_SENT: made.sent} if made.sent else {})).decode()
    return {
        ID: point.id,
        KEY: point.payload["key"],
        vector_field(layout.metric): made.vector,
        VERSION: point.payload[VERSION],
        HIDDEN: made.hidden,
        TERMS: made.terms,
        NUMBERS: made.numbers,
        RECORD: [text[at : at + PIECE_CHARS] for at in range(0, len(text), PIECE_CHARS)],
    }


def to_payload(row: Mapping[str, Any]) -> dict[str, Any]:
    """The payload of a row, as far as its record has it."""
    return {**orjson.loads("".join(row[RECORD])), "key": row[KEY]}


def to_point(row: Mapping[str, Any]) -> Point:
    """A row that was read whole, as a point."""
    payload = to_payload(row)
    vector = next(row[field] for field in map(vector_field, METRICS) if field in row)
    vectors = vectors_of(vector, payload.get(_SENT), hidden=row[HIDDEN])
    return Point(row[ID], {**payload, VERSION: row[VERSION]}, vectors)
