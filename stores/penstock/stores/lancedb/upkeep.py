"""What keeps a table small and quick: tombstones out, fragments joined, old versions gone."""

from __future__ import annotations

from pathlib import Path

from penstock.stores.lancedb import compaction, reading
from penstock.stores.lancedb.catalog import Collection
from penstock.stores.lancedb.columns import DELETED
from penstock.stores.vector_contract import Shape

_TOMBSTONES = f"{DELETED} = true"


async def shape(found: Collection, folder: Path) -> Shape:
    """How the table in *folder* lies there."""
    stats = await found.table.stats()
    return Shape(
        vectors=await reading.count(found),
        tombstones=await _tombstones(found),
        fragments=int(stats["fragment_stats"]["num_fragments"]),
        versions=sum(1 for _ in (folder / "_versions").glob("*.manifest")),
    )


async def is_due(found: Collection) -> bool:
    """Whether there are tombstones, or many small fragments."""
    return await compaction.is_due(found.table) or await _tombstones(found) > 0


async def tend(found: Collection, tombstones_before_us: int) -> dict[str, int]:
    """See `VectorUpkeep.tend`. Only the holder of the table's lock may call it."""
    done: dict[str, int] = {}
    if found.marked and (old := await found.table.count_rows(f"{_TOMBSTONES} AND version < {tombstones_before_us}")):
        await found.table.delete(f"{_TOMBSTONES} AND version < {tombstones_before_us}")
        done["tombstones"] = int(old)
    if await compaction.is_due(found.table):
        before = (await found.table.stats())["fragment_stats"]["num_fragments"]
        await compaction.compact(found.table)
        done["fragments"] = int(before - (await found.table.stats())["fragment_stats"]["num_fragments"])
    return done


async def _tombstones(found: Collection) -> int:
    return int(await found.table.count_rows(_TOMBSTONES)) if found.marked else 0
