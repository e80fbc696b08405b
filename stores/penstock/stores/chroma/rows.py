"""Points as rows of Chroma, and back, to the byte.

A row has one vector, which is searched, and metadata without objects in it. One that no search is to find (a tombstone,
zeros by cosine) is marked, and has a vector all the same, which means nothing: Chroma makes one itself where it lacks.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from penstock.stores.chroma.filtering import has_number, ordered
from penstock.stores.qdrant.engine import EXACT, TERMS, Layout, Point
from penstock.stores.qdrant.filtering import NUMBERS, RESIDUES

HIDDEN = "hidden"
"""What a row has in its metadata that no search is to find."""

_SENT = "vector"
"""Where metadata has the vector as it was sent, in base64, if it is not the searched one."""

_OPTIONAL = ("text", "metadata", "normalised", HIDDEN, _SENT)
"""What the metadata of a row may have, beside its numbers."""

Floats = npt.NDArray[np.float32]


def to_row(point: Point, layout: Layout, fields: Collection[str]) -> tuple[str, Floats, dict[str, Any]]:
    """Id, vector and metadata of *point*.

    Chroma keeps what new metadata does not name. So what every row may have is named, and the *fields* of the one that
    stands there. A number that is left for all that is found by nothing: its term is gone.
    """
    searched, sent = point.vectors.get(layout.searched), point.vectors.get(EXACT)
    metadata = dict(_flat(point.payload))
    terms = [*metadata.get(TERMS, ()), *(has_number(each) for each in metadata if each.startswith((NUMBERS, RESIDUES)))]
    metadata = dict.fromkeys((*_OPTIONAL, *fields)) | metadata | {TERMS: terms or None}
    if searched is None:
        metadata[HIDDEN] = True
    if sent is not None and searched is not sent:
        metadata[_SENT] = base64.b64encode(sent).decode()
    vector = _somewhere(point.id, layout.dimension) if searched is None else np.frombuffer(searched, "<f4")
    return point.id, vector, metadata


def _flat(payload: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in payload.items():
        if name in (NUMBERS, RESIDUES):
            yield from _numbers(name, value)
        elif name != "key":  # it is the id
            yield name, value


def _numbers(path: str, tree: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _numbers(f"{path}.{name}", value)
        else:
            yield f"{path}.{name}", ordered(value)


def _somewhere(key: str, dimension: int) -> Floats:
    """A direction by chance, always the same for *key*: many at one place would cut the index in parts."""
    seed = hashlib.blake2b(key.encode(), digest_size=8).digest()
    found = np.random.default_rng(int.from_bytes(seed, "little")).standard_normal(dimension)
    return (found / np.sqrt(found @ found)).astype("<f4")


def to_point(key: str, vector: Any, metadata: Mapping[str, Any]) -> Point:
    """A row that was read whole, as a point."""
    if _SENT in metadata:
        vectors = {EXACT: base64.b64decode(metadata[_SENT])}
    elif HIDDEN in metadata:
        vectors = {}
    else:
        vectors = {EXACT: np.asarray(vector, "<f4").tobytes()}
    return Point(key, {**metadata, "key": key}, vectors)


def score(distance: float, layout: Layout) -> float:
    """What Chroma's *distance* is as a score: it squares the Euclidean one, and takes products from 1."""
    return math.sqrt(max(0.0, distance)) if layout.metric == "l2" else 1.0 - distance
