"""When a table's small fragments are joined, and how."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from penstock.stores.lancedb.repair import newest_manifest

SMALL_FRAGMENTS = 100
"""Each commit adds a fragment, and a search visits them all: 2 ms with one, 23 ms with 100, 97 ms with 800.
Each compaction rewrites the whole last fragment, up to a million rows, so doing it every 10 commits would take two
thirds of the time, every 100 a seventh."""

FEW_FRAGMENTS = 8
"""From so many on upkeep joins them, once a minute at most: with 97 a search of 2,000 x 64 took 16 ms, with 1 it took
4. In large tables it waits for one in 10,000 rows, since all rows of the last fragment are written anew."""

READER_LIFETIME = timedelta(minutes=2)
"""Older versions are removed. A reader that still uses one would fail, so none that a query may be using. Until then
the rows that a compaction has written anew are there twice."""


async def is_due(table: Any) -> bool:
    """Whether the table has so many small fragments that a writer joins them."""
    _, small = await _sizes(table)
    return small >= SMALL_FRAGMENTS


async def is_worth_while(table: Any) -> bool:
    """Whether the table has so many small fragments that upkeep joins them."""
    rows, small = await _sizes(table)
    return small >= min(SMALL_FRAGMENTS, max(FEW_FRAGMENTS, rows // 10_000))


async def _sizes(table: Any) -> tuple[int, int]:
    """Rows, and fragments of less than a million of them."""
    stats = await table.stats()
    return int(stats["num_rows"]), int(stats["fragment_stats"]["num_small_fragments"])


def lifetime(folder: Path) -> timedelta:
    """How long versions of the table in *folder* are kept when it is compacted: the newest, which is on disk, stays.

    The commits that follow are not on disk before the compaction removes files. A power loss that took them would
    leave nothing to step back to in a table that nobody had written to for a while.
    """
    newest = newest_manifest(folder)
    age_s = 0.0 if newest is None else time.time() - newest.stat().st_mtime
    return READER_LIFETIME + timedelta(seconds=max(0.0, age_s))


async def compact(table: Any, kept: timedelta) -> None:
    """Join fragments, take rows into the index, and remove versions that are older than *kept*.

    Only the holder of the table's lock may call it: the loser of a race with another commit has rewritten everything
    for nothing.
    """
    await table.optimize(cleanup_older_than=kept)
