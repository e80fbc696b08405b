"""When a table's small fragments are joined, and how."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

SMALL_FRAGMENTS = 100
"""Each commit adds a fragment, and a search visits them all: 2 ms with one, 23 ms with 100, 97 ms with 800.
Each compaction rewrites the whole last fragment, up to a million rows, so doing it every 10 commits would take two
thirds of the time, every 100 a seventh."""

READER_LIFETIME = timedelta(minutes=10)
"""Older versions are removed. A reader that still uses one would fail, so none that a query may be using."""


async def is_due(table: Any) -> bool:
    """Whether the table has many small fragments."""
    stats = await table.stats()
    return int(stats["fragment_stats"]["num_small_fragments"]) >= SMALL_FRAGMENTS


async def compact(table: Any) -> None:
    """Join fragments and remove old versions. Only the holder of the table's lock may call it: the loser of a race
    with another commit has rewritten everything for nothing."""
    await table.optimize(cleanup_older_than=READER_LIFETIME)
