"""How a batch gets into a collection so that nothing older takes the place of what is newer, whoever else writes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence

from penstock.stores.errors import StoreUnavailable
from penstock.stores.points.encoding import to_points
from penstock.stores.points.engine import Engine, Layout
from penstock.wire.records import VectorRecord

REQUEST_BYTES = 16 * 1024 * 1024
"""About how much of vectors one request carries. A server takes 32 MB where it is not told otherwise."""

ROUNDS = 8
"""How often a batch is written against others who write the same keys at the same time."""

_COMPARABLE = 2**53
"""Engines compare in float64, which holds every microsecond up to the year 2255."""


async def write(engine: Engine, name: str, layout: Layout, records: Sequence[VectorRecord]) -> int:
    """Write those of *records*, one a key, that are newer than what is there; how many they were.

    The versions that are there are read; what is newer goes with a condition on what it may replace, since somebody
    may write between the two. Where somebody can have, a last look tells whether the condition kept out what is
    newer after all, which then goes again. A server before 1.16 does not know the condition.

    Raises:
        Missing: The collection is not there, or not any more.
    """
    lacking = {engine.id_of(record.key): record for record in records}
    turn = engine.turn(name)
    stored = await engine.versions(name, list(lacking))
    lacking = _newer(lacking, stored)
    taken = len(lacking)
    for _ in range(ROUNDS):
        if not lacking:
            return taken
        for group, below in groups(lacking, stored):
            await _upsert(engine, name, layout, group, below)
        if turn is not None and engine.turn(name) == turn:
            return taken
        stored = await engine.versions(name, list(lacking))
        lacking = _newer(lacking, stored)
    raise StoreUnavailable(f"collection {name}: others write the same keys all the time; try again")


def _newer(records: Mapping[str, VectorRecord], stored: Mapping[str, int]) -> dict[str, VectorRecord]:
    return {at: each for at, each in records.items() if at not in stored or stored[at] < each.created_at_us}


def groups(
    records: Mapping[str, VectorRecord], stored: Mapping[str, int]
) -> Iterator[tuple[list[VectorRecord], int | None]]:
    """*records*, by id, in groups that one condition serves: what is there has a version below that of every record.

    Nearly always one group, since what a batch replaces is older than all of the batch. None is no condition.
    """
    rest = sorted(records.items(), key=lambda item: item[1].created_at_us)
    while rest:
        below = rest[0][1].created_at_us
        yield [each for at, each in rest if stored.get(at, -1) < below], below if below < _COMPARABLE else None
        rest = [(at, each) for at, each in rest if stored.get(at, -1) >= below]


async def _upsert(
    engine: Engine, name: str, layout: Layout, records: Sequence[VectorRecord], below: int | None
) -> None:
    size = max(1, REQUEST_BYTES // (4 * layout.dimension))
    for at in range(0, len(records), size):
        # In a thread: 5,000 vectors of 1,536 numbers are 30 MB to look at.
        points = await asyncio.to_thread(to_points, records[at : at + size], layout, engine.id_of)
        await engine.upsert(name, points, below)
