"""Points where a row has no objects, one vector always, and comparisons of one kind of number alone: Chroma, Milvus."""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from penstock.stores.points.engine import EXACT, TERMS, Layout, Point
from penstock.stores.points.filtering import NUMBERS, RESIDUES

OPS = {">": ">", ">=": ">=", "<": "<", "<=": "<=", "=": "=="}

OPPOSITES = {">": "<=", ">=": "<", "<": ">=", "<=": ">", "=": "!="}
"""What holds where an operator does not, for what is there."""

Floats = npt.NDArray[np.float32]


class Flat(NamedTuple):
    """A point, laid out flat."""

    vector: Floats
    sent: str | None
    """The vector as it was sent, in base64, where that is not the searched one."""
    hidden: bool
    """Nothing is searched by it: a tombstone, or zeros by cosine. Its vector means nothing."""
    terms: list[str]
    """Those of the point, and one for each of its numbers."""
    numbers: dict[str, int]
    """By path; see `ordered`."""


def flat(point: Point, layout: Layout) -> Flat:
    """*point*, of a collection of this *layout*."""
    searched, sent = point.vectors.get(layout.searched), point.vectors.get(EXACT)
    numbers = {path: number for of in (NUMBERS, RESIDUES) for path, number in _numbers(of, point.payload.get(of, {}))}
    return Flat(
        _somewhere(point.id, layout.dimension) if searched is None else np.frombuffer(searched, "<f4"),
        base64.b64encode(sent).decode() if sent is not None and searched is not sent else None,
        searched is None,
        [*point.payload.get(TERMS, ()), *map(has_number, numbers)],
        numbers,
    )


def vectors_of(vector: Any, sent: str | None, *, hidden: bool) -> dict[str, bytes]:
    """The named vectors of a point that lay flat."""
    if sent is not None:
        return {EXACT: base64.b64decode(sent)}
    return {} if hidden else {EXACT: np.asarray(vector, "<f4").tobytes()}


def ordered(number: float) -> int:
    """An integer of 64 bits that is to others as *number* is to theirs."""
    (bits,) = struct.unpack("<q", struct.pack("<d", number + 0.0))
    return int(bits) if bits >= 0 else -(bits & 0x7FFF_FFFF_FFFF_FFFF)


def has_number(path: str) -> str:
    """The term of a point that has a number at *path*."""
    return f"#{path}"


def _numbers(path: str, tree: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _numbers(f"{path}.{name}", value)
        else:
            yield f"{path}.{name}", ordered(value)


def _somewhere(key: str, dimension: int) -> Floats:
    """A direction by chance, always the same for *key*: many at one place would cut an index in parts."""
    seed = hashlib.blake2b(key.encode(), digest_size=8).digest()
    found = np.random.default_rng(int.from_bytes(seed, "little")).standard_normal(dimension)
    return (found / np.sqrt(found @ found)).astype("<f4")
