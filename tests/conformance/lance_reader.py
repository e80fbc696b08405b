"""Reads a Lance table round the store: the synchronous driver on a connection of its own."""

from __future__ import annotations

from pathlib import Path

import lancedb
import orjson

from penstock.testing.conformance.vector_records import Row


def read_table(folder: Path, collection: str) -> dict[str, Row]:
    """Every row by id; empty without a table. Fails when an id is there twice."""
    connection = lancedb.connect(folder)
    if collection not in connection.list_tables().tables:
        return {}
    rows = connection.open_table(collection).to_arrow().to_pylist()
    assert len({row["id"] for row in rows}) == len(rows), "an id is stored twice"
    return {
        row["id"]: Row(row["vector"], row["text"], orjson.loads(row["metadata"] or b"{}"), row["version"])
        for row in rows
        if not row.get("deleted")
    }
