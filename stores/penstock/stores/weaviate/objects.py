"""Points as objects of Weaviate, and back, to the bit."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from weaviate.classes.data import DataObject

from penstock.stores.metrics import floats_of
from penstock.stores.points.engine import EXACT, TERMS, UNIT, VERSION, Layout, Point
from penstock.stores.points.filtering import NUMBERS, RESIDUES
from penstock.stores.weaviate.naming import class_of, description_of, property_of, word_of

VECTOR = "default"
"""What the vector is called that is searched."""

AT = "at"
"""Where `created_at_us` is as text: Weaviate's numbers are float64, and JSON on the way has nothing else."""

_KEY, _SENT = "id_", "sent"
"""Where the record's id and, as base64, the vector are, where it is not the one that is searched."""

_TEXTS = ("key", AT, _KEY, "text", "metadata", _SENT)

WHOLE = (*_TEXTS, "normalised")


def to_class(collection: str, layout: Layout) -> dict[str, Any]:
    """What makes *collection*. Directions are compared by their product, so that nothing of them is scaled again."""
    distance = "l2-squared" if layout.metric == "l2" else "dot"
    kept = [{"name": name, "dataType": ["text"], "indexFilterable": False, "indexSearchable": False} for name in _TEXTS]
    return {
        "class": class_of(collection),
        "description": description_of(collection, layout),
        "vectorConfig": {
            VECTOR: {
                "vectorizer": {"none": {}},
                "vectorIndexType": "hnsw",
                "vectorIndexConfig": {"distance": distance},
            }
        },
        "invertedIndexConfig": {"stopwords": {"preset": "none"}},
        "properties": [
            *kept,
            {"name": "normalised", "dataType": ["boolean"], "indexFilterable": False},
            {"name": VERSION, "dataType": ["number"], "indexFilterable": True, "indexRangeFilters": True},
            {
                "name": TERMS,
                "dataType": ["text[]"],
                "tokenization": "field",
                "indexFilterable": True,
                "indexSearchable": False,
            },
        ],
    }


def to_object(point: Point, layout: Layout) -> DataObject[dict[str, Any], None]:
    """*point* as an object; a tombstone, and zeros where cosine counts, have no vector that a search could meet."""
    payload = point.payload
    properties: dict[str, Any] = {
        "key": payload["key"],
        _KEY: payload["id"],
        AT: str(payload[VERSION]),
        VERSION: float(payload[VERSION]),
        TERMS: [word_of(each) for each in payload[TERMS]],
        **{name: payload[name] for name in ("text", "metadata") if name in payload},
        **dict(numbers_of(point)),
    }
    if "normalised" in payload:
        properties["normalised"] = True
    searched = point.vectors.get(layout.searched)
    if layout.searched == UNIT and EXACT in point.vectors:
        properties[_SENT] = base64.b64encode(point.vectors[EXACT]).decode()
    vector = None if searched is None else {VECTOR: floats_of(searched).tolist()}
    return DataObject(properties=properties, uuid=point.id, vector=vector)


def numbers_of(point: Point) -> Iterator[tuple[str, float]]:
    """Every number that a filter may compare, by its property."""
    for tree in (NUMBERS, RESIDUES):
        yield from _leaves(tree, point.payload.get(tree, {}))


def _leaves(path: str, tree: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(f"{path}.{name}", value)
        else:
            yield property_of(f"{path}.{name}"), value


def to_payload(properties: Mapping[str, Any]) -> dict[str, Any]:
    """The payload of a point, of properties that were read; what is missing there, or null, is missing here."""
    named = {"id" if name == _KEY else name: value for name, value in properties.items() if value is not None}
    if AT in named:
        named[VERSION] = int(named[AT])
    return named


def from_object(found: Any, layout: Layout) -> Point:
    """An object that was read whole."""
    vectors: dict[str, bytes] = {}
    if sent := found.properties.get(_SENT):
        vectors[EXACT] = base64.b64decode(sent)
    elif VECTOR in found.vector:
        vectors[layout.searched] = np.array(found.vector[VECTOR], "<f4").tobytes()
    return Point(str(found.uuid), to_payload(found.properties), vectors)
