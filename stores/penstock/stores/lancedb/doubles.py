"""Takes out rows that two writers stored under one key, where something got past the table's lock."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from penstock.stores.lancedb.filtering import quoted


async def remove_doubles(table: Any, keys: Sequence[str]) -> int:
    """Keep one row of each of *keys*, the latest, and remove the others in one commit. Returns how many those were."""
    query = table.query().where(f"id IN ({', '.join(map(quoted, keys))})").with_row_id()
    rows = await query.select(["id", "version"]).to_arrow()
    columns = (rows.column(name).to_pylist() for name in ("id", "version", "_rowid"))
    ranked = sorted(zip(*columns, strict=True))
    surplus = [row for (key, _, row), (following, _, _) in itertools.pairwise(ranked) if key == following]
    if surplus:
        await table.delete(f"_rowid IN ({', '.join(map(str, surplus))})")
    return len(surplus)
