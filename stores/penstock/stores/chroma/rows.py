"""Points as rows of Chroma, and back, to the byte.

A row has one vector, which is searched, and metadata without objects in it. One that no search is to find (a tombstone,
zeros by cosine) is marked, and has a vector all the same, which means nothing: Chroma makes one itself where it lacks.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

from penstock.stores.points.engine import TERMS, Layout, Point
from penstock.stores.points.filtering import NUMBERS, RESIDUES
from penstock.stores.points.flat import Floats, flat, vectors_of

HIDDEN = "hidden"
"""What a row has in its metadata that no search is to find."""

_SENT = "vector"

_OPTIONAL = ("text", "metadata", "normalised", HIDDEN, _SENT)
"""What the metadata of a row may have, beside its numbers."""

_ELSEWHERE = ("key", TERMS, NUMBERS, RESIDUES)
"""What of a payload stands there under another name, or is the id."""


def to_row(point: Point, layout: Layout, fields: Collection[str]) -> tuple[str, Floats, dict[str, Any]]:
    """Id, vector and metadata of *point*.

    Chroma keeps what new metadata does not name. So what every row may have is named, and the *fields* of the one that
    stands there. A number that is left for all that is found by nothing: its term is gone.
    """
    made = flat(point, layout)
    metadata: dict[str, Any] = dict.fromkeys((*_OPTIONAL, *fields))
    metadata |= {name: value for name, value in point.payload.items() if name not in _ELSEWHERE} | made.numbers
    metadata |= {TERMS: made.terms or None, HIDDEN: made.hidden or None, _SENT: made.sent}
    return point.id, made.vector, metadata


def to_point(key: str, vector: Any, metadata: Mapping[str, Any]) -> Point:
    """A row that was read whole, as a point."""
    vectors = vectors_of(vector, metadata.get(_SENT), hidden=HIDDEN in metadata)
    return Point(key, {**metadata, "key": key}, vectors)


def score(distance: float, layout: Layout) -> float:
    """What Chroma's *distance* is as a score: it squares the Euclidean one, and takes products from 1."""
    return math.sqrt(max(0.0, distance)) if layout.metric == "l2" else 1.0 - distance
