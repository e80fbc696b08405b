"""What the store asks of an engine: a server, or one in this process."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

from penstock.stores.errors import StoreRejected, StoreUnavailable
from penstock.stores.metrics import Metric

EXACT = "penstock"
"""The name of the vector as it was sent."""

UNIT = "penstock_unit"
"""The name of the vector's direction, in collections that are searched by cosine."""

TERMS = "terms"
"""The one field of the payload that every collection has an index of."""

VERSION = "version"
"""Where the payload has `created_at_us`."""

SHOWN = ("key", "text", "metadata")
"""What a hit needs of the payload."""

EXACT_BELOW = 20_000
"""Vectors up to which an engine looks at every one: of the collection, or of those that a filter of terms lets through.
Its own thresholds count kilobytes."""

BREADTH = 128
"""How many candidates the index weighs, when it is built and when it is searched."""

SELECTIVE = 0.6
"""The part of all that a filter may let through and be searched for by ACORN, which looks behind what does not match.

Without it a filter that one in ten passed by an index found 0.33 of the 10 nearest of 100,000, and one that one in four
passed 0.90 of 40,000; with it 1.00, for 7 times the work of a search that goes wrong. What a range lets through, which
has no index, Qdrant takes for a half.
"""


class Layout(NamedTuple):
    """What is fixed when a collection is made."""

    dimension: int
    metric: Metric

    @property
    def searched(self) -> str:
        """The name of the vector that is indexed.

        By cosine it is the direction, made by us: Qdrant would keep nothing else, and what was sent would be lost.
        """
        return UNIT if self.metric == "cosine" else EXACT

    @property
    def threshold_kb(self) -> int:
        """`EXACT_BELOW` in Qdrant's measure."""
        return max(1, EXACT_BELOW * self.dimension * 4 // 1024)


class Point(NamedTuple):
    """One key of a collection."""

    id: str
    payload: Mapping[str, Any]
    vectors: Mapping[str, bytes]
    """By name, float32 bytes. A tombstone has none, so no search meets it."""


class Near(NamedTuple):
    """One answer of a search."""

    payload: Mapping[str, Any]
    score: float
    """As engines have it: by Euclid, lower is nearer."""


class Standing(NamedTuple):
    """What an engine tells of a collection."""

    points: int
    segments: int | None
    indexed: int


class Missing(StoreUnavailable):
    """There is no such collection, or none any more. Nothing was written."""


class Term(NamedTuple):
    """Some of *values* is among the point's terms."""

    values: tuple[str, ...]


class Number(NamedTuple):
    """The point has a number at *key* of its payload, for which `<op> value` holds."""

    key: str
    op: str
    """`>`, `>=`, `<`, `<=` or `=`."""
    value: float


class Group(NamedTuple):
    """All of *must* hold, some of *should* where there are any, and none of *must_not*."""

    must: tuple[Wanted, ...] = ()
    should: tuple[Wanted, ...] = ()
    must_not: tuple[Wanted, ...] = ()


Wanted: TypeAlias = Term | Number | Group


class Engine(Protocol):
    """An engine.

    Raises the store's errors only. A call about a collection that is not there raises `Missing`.
    """

    builds_index: bool
    """`optimise` is what builds the index; else the engine does so by itself."""

    shared: bool
    """Several processes may have it open."""
    exact_below: int
    """Vectors of a collection up to which it looks at every one."""

    def id_of(self, key: str) -> str:
        """What the point of *key* is called there."""

    def turn(self, name: str) -> int | None:
        """What stays the same while nobody else can have written to the collection; None where anybody can."""

    async def open(self) -> None:
        """Make ready what is needed before anything is written. May be repeated."""

    async def check(self) -> None:
        """Answer."""

    async def close(self) -> None:
        """Let go of everything, once what runs has ended. May be repeated."""

    async def names(self) -> Sequence[str]:
        """All collections that are Penstock's."""

    async def layout(self, name: str) -> Layout:
        """What was fixed when the collection was made.

        Raises:
            StoreRejected: Somebody else made it.
        """

    async def create(self, name: str, layout: Layout) -> None:
        """Make the collection with its index of terms, or pass where it is there."""

    async def drop(self, name: str) -> bool:
        """Remove it for good; False when it was not there."""

    async def versions(self, name: str, ids: Sequence[str]) -> Mapping[str, int]:
        """The versions of those of the points that are there."""

    async def upsert(self, name: str, points: Sequence[Point], below: int | None) -> None:
        """Write *points*, in one step and for good, but those that are there with a version of *below* or higher."""

    async def points(self, name: str, ids: Sequence[str]) -> Sequence[Point]:
        """Those of the points that are there, whole."""

    async def nearest(self, name: str, using: str, vector: bytes, limit: int, where: Wanted | None) -> Sequence[Near]:
        """The nearest points, best first, by the index where there is one."""

    async def keys(self, name: str, after: str | None, limit: int) -> tuple[Sequence[str], str | None]:
        """Keys of at most *limit* points in the order of their ids, from the id *after* on, and where to go on."""

    async def count(self, name: str, where: Wanted | None = None) -> int:
        """How many points there are, exactly."""

    async def remove(self, name: str, where: Wanted) -> None:
        """Remove points for good."""

    async def standing(self, name: str) -> Standing:
        """How the collection lies there."""

    async def optimise(self, name: str) -> bool:
        """Build what index is due and join segments; False when nothing was due, or the engine does so by itself."""


def layout_of(name: str, vectors: Mapping[str, tuple[int, str]]) -> Layout:
    """The layout of a collection whose *vectors* have these dimensions and distances.

    Raises:
        StoreRejected: They are not Penstock's.
    """
    dimension, distance = vectors.get(EXACT, (0, ""))
    if distance not in ("Dot", "Euclid"):
        raise StoreRejected(
            f"collection {name} was not made by Penstock; give it another name, or the store another home"
        )
    if UNIT in vectors:
        return Layout(dimension, "cosine")
    return Layout(dimension, "dot" if distance == "Dot" else "l2")


async def ours(engine: Engine, names: Iterable[str]) -> list[str]:
    """Those of *names* that are collections of ours. Asks for each."""
    return [name for name in names if await _is_ours(engine, name)]


async def _is_ours(engine: Engine, name: str) -> bool:
    try:
        await engine.layout(name)
    except (StoreRejected, Missing):
        return False
    return True
