"""What keeps a table small and quick: tombstones out, fragments joined, old versions gone, an index if it is large."""

from __future__ import annotations

from pathlib import Path

from penstock.stores.lancedb import compaction, indexing, reading
from penstock.stores.lancedb.catalog import Collection
from penstock.stores.lancedb.columns import DELETED
from penstock.stores.metrics import Metric
from penstock.stores.vector_contract import Shape

_TOMBSTONES = f"{DELETED} = true"


async def shape(found: Collection, folder: Path) -> Shape:
    """How the table in *folder* lies there."""
    return Shape(
        vectors=await reading.count(found),
        tombstones=await _tombstones(found),
        fragments=await _fragments(found),
        versions=sum(1 for _ in (folder / "_versions").glob("*.manifest")),
        indexed=await indexing.covered(found.table),
    )


async def is_due(found: Collection, metric: Metric) -> bool:
    """Whether there are tombstones, many small fragments, or rows that want an index."""
    return (
        await compaction.is_worth_while(found.table)
        or await indexing.has_outgrown(found.table, metric)
        or await indexing.tail(found.table) >= indexing.MAX_TAIL
        or await _tombstones(found) > 0
    )


async def tend(found: Collection, folder: Path, tombstones_before_us: int, metric: Metric) -> dict[str, int]:
    """See `VectorUpkeep.tend`. Only the holder of the table's lock may call it."""
    kept = compaction.lifetime(folder)
    done = {
        "tombstones": await _remove_tombstones(found, tombstones_before_us),
        "fragments": 0,
        "indexed": await indexing.build(found.table, metric) if await indexing.has_outgrown(found.table, metric) else 0,
    }
    beside = await indexing.tail(found.table)
    if await compaction.is_worth_while(found.table) or beside >= indexing.MAX_TAIL:
        before = await _fragments(found)
        await compaction.compact(found.table, kept)  # which also takes the tail into the index
        done["fragments"], done["indexed"] = before - await _fragments(found), done["indexed"] or beside
    return {name: count for name, count in done.items() if count}


async def _remove_tombstones(found: Collection, before_us: int) -> int:
    if not found.marked:
        return 0
    old = f"{_TOMBSTONES} AND version < {before_us}"
    count = int(await found.table.count_rows(old))
    if count:
        await found.table.delete(old)
    return count


async def _tombstones(found: Collection) -> int:
    return int(await found.table.count_rows(_TOMBSTONES)) if found.marked else 0


async def _fragments(found: Collection) -> int:
    stats = await found.table.stats()
    return int(stats["fragment_stats"]["num_fragments"])
