"""When a table has outgrown a search that looks at every vector, and the index that it gets then."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from lancedb.index import IvfFlat

from penstock.stores.metrics import Metric

INDEX_FROM = 50_000
"""Rows from which a table gets an index. Looking at 50,000 x 384 takes a tenth of a second of one core and is exact."""

MAX_TAIL = 10_000
"""Rows beside the index, each of which a search looks at, until they are taken in."""

_PARTITION_ROWS = 4_096
"""Of 100,000 x 384 in clusters 20 of 25 such parts hold all of the 10 nearest, and of 100 smaller ones 91 to 97 %; a
search takes a tenth of what it takes without an index (benchmarks/recall.py)."""

_PROBES = 20
_GROWTH = 2
"""An index is made anew once the table is so many times as large: its parts have grown with it."""

_NAME = re.compile(r"penstock_(?P<metric>cosine|dot|l2)_(?P<rows>\d+)\Z")


class Index(NamedTuple):
    """An index of a table. All that is to know of it stands in its name."""

    name: str
    metric: str
    rows: int
    """How many the table had when it was made."""


async def indexes(table: Any) -> list[Index]:
    """Those of *table*, the one of the most rows first. More than one only after a crash."""
    named = [(each.name, _NAME.match(each.name)) for each in await table.list_indices()]
    found = [Index(name, match["metric"], int(match["rows"])) for name, match in named if match]
    return sorted(found, key=lambda index: index.rows, reverse=True)


async def probes(table: Any, metric: Metric) -> int | None:
    """How many parts of the index a search by *metric* looks into at least; None where there is no index for it."""
    found = [index for index in await indexes(table) if index.metric == metric]
    return _PROBES + found[0].rows // (10 * _PARTITION_ROWS) if found else None


async def covered(table: Any) -> int | None:
    """How many rows the index covers; None without one."""
    found = await indexes(table)
    stats = await table.index_stats(found[0].name) if found else None
    return None if stats is None else int(stats.num_indexed_rows)


async def has_outgrown(table: Any, metric: Metric) -> bool:
    """Whether *table* wants an index for *metric*, or another one than it has."""
    rows = int(await table.count_rows())
    return rows >= INDEX_FROM and not any(
        index.metric == metric and rows < _GROWTH * index.rows for index in await indexes(table)
    )


async def build(table: Any, metric: Metric) -> int:
    """Index *table* for *metric*, in place of what index there was. Returns how many rows. Searches go on meanwhile."""
    rows = int(await table.count_rows())
    kind = IvfFlat(distance_type=metric, num_partitions=max(1, rows // _PARTITION_ROWS))
    name = f"penstock_{metric}_{rows}"
    await table.create_index("vector", config=kind, name=name, replace=True)
    await drop(table, but=name)
    return rows


async def drop(table: Any, but: str | None = None) -> None:
    """Drop the indexes of *table*, *but* that one."""
    for index in await indexes(table):
        if index.name != but:
            await table.drop_index(index.name)


async def tail(table: Any) -> int:
    """Rows beside the index; 0 without one."""
    found = await covered(table)
    return 0 if found is None else int(await table.count_rows()) - found
